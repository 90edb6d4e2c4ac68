"""Records of a run that cannot be read: what was kept elsewhere stays, and the others are shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.behaviour.cli.test_commands import katibflow, write

BROKEN = {
    "no JSON": "x",
    "a newer version": json.dumps({"version": 99}),
    "empty": "",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three trials that is over, in the folder of its file."""
    file = write(tmp_path, "echo loss=$X", {"spec.maxTrialCount": 3})
    assert katibflow("run", file, cwd=tmp_path)[0] == 0
    return tmp_path / "runs" / "sample"


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_run_that_is_refused_leaves_the_history_as_it_was(run: Path, text: str) -> None:
    before = (run / "study.jsonl").read_bytes()
    (run / "trials" / "0001" / "record.json").write_text(text)
    code, _, err = katibflow("run", run.parents[1] / "experiment.yaml", cwd=run.parents[1])
    assert code == 1
    assert "0001/record.json" in err
    assert (run / "study.jsonl").read_bytes() == before


def test_the_history_has_all_finished_trials_while_the_run_goes_on(run: Path) -> None:
    folder = run.parents[1]
    script = "cp runs/sample/study.jsonl seen; echo loss=$X".replace("runs/", f"{run.parent}/")
    file = write(folder, script.replace("seen", f"{folder}/seen"), {"spec.maxTrialCount": 4})
    assert katibflow("run", file, "--keep", cwd=folder)[0] == 0
    numbers = [
        json.loads(line).get("number") for line in (folder / "seen").read_text().splitlines()
    ]
    assert numbers == [None, 0, 1, 2]


def test_a_trial_whose_folder_is_deleted_stays_finished(run: Path) -> None:
    folder = run.parents[1]
    before = (run / "study.jsonl").read_text().splitlines()[1:]
    shutil.rmtree(run / "trials" / "0001")
    _, out, _ = katibflow("report", run, cwd=folder)
    assert "3 trials ended" in out
    file = write(folder, "echo loss=$X", {"spec.maxTrialCount": 4})
    code, out, err = katibflow("run", file, cwd=folder)
    assert (code, err) == (0, "")
    assert "4 trials ended, maxTrialCount is 4" in out
    assert (run / "study.jsonl").read_text().splitlines()[1:4] == before


@pytest.mark.long
def test_times_that_are_none_do_not_keep_the_report_from_being_written(run: Path) -> None:
    path = run / "trials" / "0001" / "record.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **dict.fromkeys(("queued", "start", "end"), "yesterday")}))
    code, out, err = katibflow("report", "runs/sample", cwd=run.parents[1])
    assert (code, err) == (0, "")
    assert "best trial: " in out
