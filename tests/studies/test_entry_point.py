"""Studies of another package: found by its entry point, measured, listed, reported."""

import json
import sys

import pytest

from metagrad import cli, studies
from metagrad_studies.core.catalogue import Catalogue

CATALOGUE = """
from metagrad_studies.core.catalogue import Catalogue

STUDIES = Catalogue("dice_studies", ("{name}",))
"""
STUDY = """
from studies.counting import Counting


class Dice(Counting):
    name, title, source = "{name}", "How a die falls", "ours"
    choices = ("The die has six sides.",)


STUDY = Dice()
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with one study where Python finds it, as pip would."""

    def of(name):
        place = tmp_path / "site"
        package, information = place / "dice_studies", place / "dice_studies-1.0.dist-info"
        package.mkdir(parents=True)
        information.mkdir()
        (package / "__init__.py").write_text("")
        (package / "catalogue.py").write_text(CATALOGUE.format(name=name))
        (package / f"{name.replace('-', '_')}.py").write_text(STUDY.format(name=name))
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: dice-studies\nVersion: 1.0\n")
        entry = "[metagrad.studies]\ndice_studies = dice_studies.catalogue:STUDIES\n"
        (information / "entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(place)
        for module in ("dice_studies", "dice_studies.catalogue", f"dice_studies.{name.replace('-', '_')}"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.chdir(tmp_path)

    return of


def test_it_is_listed_measured_and_reported_as_those_that_come_with_metagrad(install, tmp_path, capsys):
    install("two-dice")
    assert cli.main(["list"]) == 0
    assert "How a die falls" in capsys.readouterr().out
    assert cli.main(["reproduce", "two-dice"]) == 0
    assert "held here: undecided" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "runs" / "two-dice-small" / "study.json").read_text())
    assert (manifest["study"], manifest["title"]) == ("two-dice", "How a die falls")
    assert cli.main(["report", "runs", "--out", "page.html"]) == 0
    assert "The die has six sides." in (tmp_path / "page.html").read_text()
    assert "fig2" in studies.catalogues()


def test_its_errors_are_the_users_in_one_sentence(install, capsys):
    install("two-dice")
    assert cli.main(["reproduce", "two-dice", "--scale", "large"]) == 2
    assert "two-dice has the sizes small, full, not large" in capsys.readouterr().err


def test_a_name_that_is_taken_is_refused(install):
    install("fig2")
    with pytest.raises(ValueError, match="two installed packages have a study named 'fig2'; uninstall one of them"):
        studies.catalogues()


def test_a_name_alone_imports_nothing():
    catalogue = Catalogue("no_such_package", ("a-study",))
    assert list(catalogue) == ["a-study"]
    assert "another" not in catalogue
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        catalogue["a-study"]
