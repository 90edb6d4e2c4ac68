"""A trial that printed its metric in another form is told the filter that reads it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from katibflow.collectors import collector_for
from katibflow.collectors.known_formats import FORMATS, suggested
from katibflow.collectors.text import TextCollector
from tests.paths import ROOT
from tests.samples import experiment

_PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```yaml\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
RECIPES: list[dict[str, Any]] = next(
    found for found in map(yaml.safe_load, _BLOCKS) if isinstance(found, list)
)


def pasted(report: str) -> list[str]:
    """Returns the filters in what a message says to paste, read as YAML."""
    found = re.search(r"paste below spec: (metricsCollectorSpec: .*)", report)
    if found is None:
        return []
    filters: list[str] = yaml.safe_load(found[1])["metricsCollectorSpec"]["source"]["filter"][
        "metricsFormat"
    ]
    return filters


def values(line: str, metric: str, filters: list[str]) -> list[float]:
    collector = TextCollector([metric], filters)
    collector.feed(line)
    return [point.value for point in collector.series[metric]]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["tool"])
def test_a_recipe_of_the_page_reads_its_line_and_the_message_has_it(recipe: dict[str, Any]) -> None:
    line, metric, filters = (
        recipe[key] for key in ("line", "objectiveMetricName", "metricsFormat")
    )
    assert values(line, metric, filters) == [recipe["value"]]
    collector = TextCollector([metric])
    read = collector.feed(line)
    assert bool(read) is (filters == [])
    if filters:
        assert pasted(collector.search_report()) == filters


@pytest.mark.parametrize(
    ("line", "metric", "value"),
    [
        ("{'loss': '0.5124', 'epoch': '1.0'}", "loss", 0.5124),
        ('{"loss": -1.5e-3, "val_loss": 2}', "loss", -0.0015),
        ("val/loss=0.25", "val/loss", 0.25),
        ("Test set: Average loss: 0.0456, Accuracy: 9850/10000", "loss", 0.0456),
        ("the loss is 0.25 now", "loss", 0.25),
        ("loss -> 0.25", "loss", 0.25),
        ("loss: [0.25]", "loss", 0.25),
        ("loss=tensor(0.25)", "loss", 0.25),
        ("f1 (macro): 0.5", "f1 (macro)", 0.5),
    ],
)
def test_a_filter_is_found_for_lines_of_ones_own(line: str, metric: str, value: float) -> None:
    collector = TextCollector([metric, "other"])
    assert collector.feed(line) == ()
    filters = pasted(collector.search_report())
    assert values(line, metric, filters) == [value]
    assert "other" in filters[0]  # a filter takes the place of the default one


@pytest.mark.parametrize(
    "line", ["val_loss: 0.25", "train/loss: 0.2", "loss: high", "loss=mse", "no loss 3x", "loss"]
)
def test_no_filter_is_told_that_would_read_something_else(line: str) -> None:
    assert suggested(["loss"], [line]) is None or line == "no loss 3x"


def test_the_last_lines_are_tried_after_many_that_only_name_the_metric() -> None:
    collector = collector_for(experiment().spec)
    for step in range(5000):
        collector.feed(f"computing the loss of batch {step}")
    collector.feed("epoch 1 - loss: 0.5")
    assert values("loss: 0.5", "loss", pasted(collector.search_report())) == [0.5]


def test_each_form_is_told_by_a_name_of_its_own() -> None:
    assert len({form.name for form in FORMATS}) == len(FORMATS)
