"""Which folders of its own a trial gets for its files of metrics, and what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.collectors.sources import Files
from katibflow.collectors.tfevent import EVENT_FILES, EventFiles
from katibflow.runners.local.manifest import plan_job
from katibflow.runners.local.metrics_folders import maps_of
from katibflow.runners.local.paths import PathMap, map_paths
from tests.doubles.local_lab import batch_job


class Trial:
    """A trial's process, whose files of metrics lie in folders of its own."""

    def __init__(self, tmp_path: Path, source: Files, *maps: str) -> None:
        self.attempt = tmp_path / "attempt-1"
        self.attempt.mkdir()
        self._plan = plan_job(batch_job(0, ["true"]).manifest, "x", 0, source)
        self._maps = [PathMap(each, tmp_path / "host" / each.strip("/")) for each in maps]
        for each in self._maps:
            each.host.mkdir(parents=True, exist_ok=True)

    def mapped(self, *texts: str) -> list[Path]:
        """Returns what a process gets in place of the texts."""
        maps = maps_of(self._plan, "job-0", self.attempt, self._maps, texts)
        return [Path(map_paths(each, maps)) for each in texts]


EVENTS = Files("/out/run/tb", EVENT_FILES, EventFiles)
LOG = Files("/out/run/metrics.log")


@pytest.mark.parametrize(("source", "below"), [(EVENTS, "run/tb"), (LOG, "run")])
@pytest.mark.parametrize("mapped", ["/out", "/out/run"])
def test_a_folder_above_the_metrics_is_the_trials_own_and_shows_the_mapped_one(
    tmp_path: Path, source: Files, below: str, mapped: str
) -> None:
    trial = Trial(tmp_path, source, mapped)
    host = tmp_path / "host" / mapped.strip("/")
    (host / "data.csv").write_text("1")
    for old in ("run/tb", "tb"):
        (host / old).mkdir(parents=True)
        (host / old / "old.tfevents.1").write_text("of an earlier program")
    (out,) = trial.mapped("/out")
    (out / below / "new").write_text("2")
    assert (trial.attempt / "metrics" / "new").read_text() == "2"
    assert not list((trial.attempt / "metrics").glob("*tfevents*"))
    assert [path.name for path in host.rglob("*") if path.name == "new"] == []
    assert (out / Path(mapped).relative_to("/out") / "data.csv").read_text() == "1"


def test_a_map_below_the_metrics_is_shown_in_the_trials_folder(tmp_path: Path) -> None:
    for number, (source, text) in enumerate([(EVENTS, "/out/run/tb"), (LOG, "/out/run")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = Trial(folder, source, f"{text}/data/mnist")
        (given,) = trial.mapped(text)
        assert given == trial.attempt / "metrics"
        (folder / "host" / text[1:] / "data" / "mnist" / "images").write_text("x")
        assert (given / "data" / "mnist" / "images").read_text() == "x"


def test_a_path_that_leads_elsewhere_stays_where_the_map_says(tmp_path: Path) -> None:
    trial = Trial(tmp_path, LOG, "/out")
    model, out = trial.mapped("/out/models/1.pt", "--to=/out/")
    assert model == tmp_path / "host" / "out" / "models" / "1.pt"
    assert str(out) == f"--to={trial.attempt}/view"


def test_a_program_that_is_told_the_metrics_own_path_keeps_its_other_folders(
    tmp_path: Path,
) -> None:
    trial = Trial(tmp_path, LOG, "/out")
    log, out = trial.mapped("/out/run/metrics.log", "/out")
    assert log == trial.attempt / "metrics" / "metrics.log"
    assert out == tmp_path / "host" / "out"
