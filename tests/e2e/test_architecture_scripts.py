"""The trial image's programs for architecture searches, and the examples that run them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from katibflow.study.history import History
from katibflow.suggestion.suggester import suggest
from katibflow.validation.rules import load_experiment
from tests.e2e.test_examples import run_as_it_says
from tests.paths import ROOT

IMAGE = ROOT / "trial_image"
NAMES = ("digits", "enas_digits", "darts_digits")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install -e .[nas]"
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts can be imported, as they import each other."""
    monkeypatch.syspath_prepend(str(IMAGE))
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def reports(out: str, metric: str) -> list[str]:
    return [line.partition(f"{metric}=")[2] for line in out.splitlines() if f"{metric}=" in line]


def test_networks_of_the_example_are_trained(capsys: pytest.CaptureFixture[str]) -> None:
    enas_digits = importlib.import_module("enas_digits")

    of = load_experiment(ROOT / "examples" / "enas.yaml")
    (suggestion,) = suggest(History(of, "0" * 8, 1), 1)
    assigned = suggestion.assignments
    texts = [f"--{name}={assigned[name]}" for name in ("architecture", "nn_config")]
    assert enas_digits.main([*texts, "--num_epochs=2", "--images=200"]) == 0
    accuracies = reports(capsys.readouterr().out, "Validation-Accuracy")
    assert [0 < float(each) <= 1 for each in accuracies] == [True, True]
    assert enas_digits.main(["--architecture=[[0]]", *texts[1:]]) == 2


def test_every_operation_of_katibs_examples_can_be_built() -> None:
    enas_digits = importlib.import_module("enas_digits")
    import torch

    values = {"filter_size": "5", "num_filter": "4", "stride": "2", "depth_multiplier": "2"}
    kinds = {
        "convolution": values,
        "separable_convolution": values,
        "depthwise_convolution": values,
        "reduction": {"reduction_type": "avg_pooling", "pool_size": 3},
    }
    layers = enumerate(kinds.items())
    embedding = {str(n): {"opt_type": kind, "opt_params": given} for n, (kind, given) in layers}
    config = {
        "num_layers": 4,
        "input_sizes": [8, 8, 1],
        "output_sizes": [10],
        "embedding": embedding,
    }
    skips = [[0], [1, 1], [2, 1, 1], [3, 1, 0, 1]]
    network = enas_digits.Network(skips, config)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_supernet_of_the_example_reports_a_genotype(capsys: pytest.CaptureFixture[str]) -> None:
    darts_digits = importlib.import_module("darts_digits")

    of = load_experiment(ROOT / "examples" / "darts.yaml")
    (suggestion,) = suggest(History(of, "0" * 8, 1), 1)
    assigned = dict(suggestion.assignments)
    assigned["algorithm-settings"] = assigned["algorithm-settings"].replace("'5'", "'1'")
    texts = [f"--{name}={text}" for name, text in assigned.items()]
    assert darts_digits.main([*texts, "--images=80"]) == 0
    (found,) = reports(capsys.readouterr().out, "Best-Genotype")
    assert found.startswith("Genotype(normal=[[('") and ",reduce_concat=range(2,4))" in found
    assert darts_digits.main([*texts[:1], "--search-space=['what']", "--num-layers=1"]) == 2


@pytest.mark.long
def test_the_example_of_enas_runs(tmp_path: Path) -> None:
    result = run_as_it_says("enas.yaml", tmp_path)
    assert result["trials"]["COMPLETE"] >= 10
    assert result["best"]["objective"] > 0.95


@pytest.mark.long
def test_the_example_of_darts_runs(tmp_path: Path) -> None:
    result = run_as_it_says("darts.yaml", tmp_path)
    assert result["best"]["objective"].startswith("Genotype(normal=")
