"""Imports go one way: estimators know only trees, and nothing below knows anything above."""

import ast
import itertools
import sys
from pathlib import Path

import torch

import metagrad
from cases import LOSS, WAYS, make_tasks

PACKAGE = Path(metagrad.__file__).parent
LAYERS = [
    {"checks", "foreign", "opening", "spelling"},
    {"tree", "memory", "structure", "kernels", "remedies", "spelled_out"},
    {"task"},
    {"prepared"},
    {"functional", "networks", "objectives", "admissible", "data", "estimators", "optim", "rules"},
    {"inner"},
    {"batching", "probing", "untouched"},
    {"capture", "choosing", "adapted", "first_look", "not_finite", "node", "meta_module"},
    {"validity", "unrolled"},
    {"learner"},
    {"training"},
    {"experiments"},
    {"studies"},
    {"reporting"},
    {"terminal", "surface", "parsers"},
    {"front", "listing", "make_surface", "commands", "reproducing", "reporting_command"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """First path component below `metagrad` of everything that a file imports from the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            parts = node.module.split(".")
            if parts[0] == "metagrad":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("metagrad.")}
    return found


def test_no_arrow_points_back():
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__main__.py",) and path.parent != PACKAGE]
    files += [path for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert len(files) > 20
    for path in files:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imported(path) - {own, "__version__"}:
            assert LEVEL[name] < LEVEL[own], f"{path.relative_to(PACKAGE)} imports metagrad.{name} from above or beside"


def test_metagrad_imports_nothing_of_the_studies_next_door():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "metagrad_studies" for name in modules), path


def test_estimators_know_only_trees():
    for path in (PACKAGE / "estimators").glob("*.py"):
        assert imported(path) <= {"tree", "checks", "estimators"}, path.name


def test_public_names():
    names = {
        *("MetaLearner", "Objective", "Task", "Batch", "InnerLoop", "WholeModel", "PartOfModel", "Proximal"),
        *(
            "SGD",
            "Adam",
            "AdamW",
            "RMSprop",
            "Clipped",
            "Transform",
            "Learned",
            "UpdateRule",
            "Steps",
            "Exact",
            "FirstOrder",
            "Truncated",
            "Binomial",
            "Hybrid",
            "Split",
        ),
        *("Parallel", "Grouped", "Implicit", "FiniteDifference", "Reptile", "MetaGradient", "meta_gradient"),
        "Auto",
        *("Stored", "SquareRoot", "Slots", "Logarithmic"),
    }
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert names <= set(metagrad.__all__)
    for name in set(metagrad.__all__) - names - modules:  # an estimator or a rule that was added
        assert getattr(metagrad, name).__module__.startswith(("metagrad.estimators.", "metagrad.rules."))
    assert all(hasattr(metagrad, name) and getattr(metagrad, name).__doc__ for name in metagrad.__all__)


ROUTE = ["learner", "batching.mean", "capture.capture", "batching.execution", "batching.chunks", "inner.of_one_task"]


def test_a_batch_of_tasks_goes_one_way_down():
    """From `backward` to an estimator in at most 15 calls, through each file once."""
    routes = []

    class Watched(metagrad.FirstOrder):
        def estimate(self, episode):
            frame, files = sys._getframe(1), []
            while frame is not None:
                files.append(frame.f_globals.get("__name__", ""))
                frame = frame.f_back
            routes.append([name.removeprefix("metagrad.") for name in reversed(files) if name.startswith("metagrad.")])
            return super().estimate(episode)

    learner = metagrad.MetaLearner(torch.nn.Linear(4, WAYS).double(), LOSS, metagrad.SGD(0.1), 2, Watched())
    learner.backward(make_tasks((4,)))
    (route,) = routes
    assert len(route) <= 15
    met = [name for name, _ in itertools.groupby(name for name in route if name != "inner.randomness")]
    # The execution's attempt runs inside the guard against random numbers, which calls nothing of its own.
    assert [name for name, _ in itertools.groupby(met)] == ROUTE
