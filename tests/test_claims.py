"""The numbers that the documents promise, measured through the command line as a user would."""

import json

import pytest

from metagrad import cli


@pytest.mark.slow
def test_comparing_on_the_sinusoid_shows_binomial_far_closer_than_truncated(tmp_path):
    assert cli.main(["compare", "sinusoid", "--out", str(tmp_path / "c"), "--repeats", "1"]) == 0
    rows = {row["estimator"]: row for row in json.loads((tmp_path / "c" / "comparison.json").read_text())["rows"]}
    assert rows["Exact()"]["error"] == [0.0, 0.0, 0.0]
    assert rows["Truncated(window=4)"]["error"][1] >= 300 * rows["Binomial(order=4)"]["error"][1] > 0


@pytest.mark.slow
def test_the_sinusoid_preset_adapts_to_a_fifth_of_its_error(tmp_path):
    assert cli.main(["train", "sinusoid", "--out", str(tmp_path / "r")]) == 0
    loss = json.loads((tmp_path / "r" / "test.json").read_text())["results"]["loss"]["mean"]
    assert loss[5] <= loss[0] / 5
    assert (tmp_path / "r" / "adaptation.png").stat().st_size > 10_000


@pytest.mark.slow
def test_omniglot_is_learned_far_beyond_raw_pixels_in_minutes(tmp_path, shared_data):
    """Class centroids of raw pixels reach 47.5 % on these episodes; 60 meta-steps must be well past that."""
    small = ["--meta-steps", "60", "--validation.every", "60", "--validation.tasks", "10", "--test.tasks", "30"]
    arguments = ["train", "omniglot-5way-1shot", "--data", str(shared_data), "--out", str(tmp_path / "r"), *small]
    assert cli.main(arguments) == 0
    accuracy = json.loads((tmp_path / "r" / "test.json").read_text())["results"]["accuracy"]["mean"]
    assert accuracy[0] == pytest.approx(0.2, abs=0.05)
    assert accuracy[5] > 0.6


@pytest.mark.slow
@pytest.mark.study
def test_cifar_fs_is_learned_beyond_raw_pixels_in_minutes(tmp_path, shared_data):
    """Class centroids of raw pixels reach 32.9 % on these episodes (60 images of each class)."""
    small = ["--meta-steps", "150", "--validation.every", "150", "--validation.tasks", "10", "--test.tasks", "60"]
    arguments = ["train", "cifar-fs-5way-1shot", "--data", str(shared_data), "--out", str(tmp_path / "r"), *small]
    assert cli.main(arguments) == 0
    accuracy = json.loads((tmp_path / "r" / "test.json").read_text())["results"]["accuracy"]["mean"]
    assert accuracy[0] == pytest.approx(0.2, abs=0.05)
    assert accuracy[5] > 0.35


@pytest.mark.slow
@pytest.mark.study
def test_mnist1d_is_learned_in_minutes(tmp_path):
    """35 % after five steps, where guessing has 20 %: signals differ more within a digit than between digits."""
    small = ["--meta-steps", "1000", "--test.tasks", "200"]
    arguments = ["train", "mnist1d-5way-1shot", "--out", str(tmp_path / "r"), *small]
    assert cli.main(arguments) == 0
    accuracy = json.loads((tmp_path / "r" / "test.json").read_text())["results"]["accuracy"]["mean"]
    assert accuracy[0] == pytest.approx(0.2, abs=0.05)
    assert accuracy[5] > 0.3
