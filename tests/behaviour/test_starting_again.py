"""A run that is started again after something has changed: what is told, and the ways out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow import Experiment, Result, search, tune
from katibflow.errors import InputError
from katibflow.runners.folder_records import FolderRecords
from katibflow.study.history import Trial, TrialState
from tests.shell_trials import document, processes_below, waits_for

FEW = {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1}


def run(
    folder: Path, script: str, changes: Mapping[str, Any] | None = None, **arguments: Any
) -> Result:
    experiment = Experiment(document(script, {**FEW, **(changes or {})}), "experiment.yaml")
    return experiment.run(runs=folder, **arguments)


def test_a_start_that_runs_nothing_says_so_first_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "echo loss=1")
    capsys.readouterr()
    run(tmp_path, "echo loss=1")
    first = capsys.readouterr().out.splitlines()[0]
    assert f"nothing is run: {tmp_path}/sample is over" in first
    assert "a larger maxTrialCount; to begin anew: --fresh (fresh=True), or another --name" in first


def test_a_failed_run_started_again_names_its_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = {"spec.maxTrialCount": 3, "spec.maxFailedTrialCount": 1}
    for _ in range(2):
        capsys.readouterr()
        run(tmp_path, "exit 1", limit)
    first = capsys.readouterr().out.splitlines()[0]
    assert "nothing is run" in first
    assert "to go on: a larger maxFailedTrialCount" in first


def test_another_template_is_refused_and_the_record_stays(tmp_path: Path) -> None:
    run(tmp_path, "echo loss=1")
    before = (tmp_path / "sample/study.jsonl").read_bytes()
    with pytest.raises(InputError) as caught:
        run(tmp_path, "echo loss=2", {"spec.algorithm.algorithmName": "tpe"})
    said = str(caught.value)
    assert 'spec.algorithm.algorithmName: found "tpe"; the trials on record had "random"' in said
    assert 'containers[0].command[2]: found "echo loss=2"' in said
    for way in ("--fresh (in Python fresh=True)", "another --name", "--keep (keep=True)"):
        assert way in said
    assert (tmp_path / "sample/study.jsonl").read_bytes() == before


def test_counts_change_freely(tmp_path: Path) -> None:
    run(tmp_path, "echo loss=1")
    more = {"spec.maxTrialCount": 3, "spec.parallelTrialCount": 2}
    assert len(run(tmp_path, "echo loss=1", more, trial_timeout=60).trials) == 3


def test_fresh_keeps_the_old_folder_beside_under_a_dated_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "echo loss=1")
    capsys.readouterr()
    result = run(tmp_path, "echo loss=2", fresh=True)
    assert result.best.value == 2
    (old,) = (path for path in tmp_path.iterdir() if path.name != "sample")
    assert f"begun anew; the earlier run is kept in {old}" in capsys.readouterr().out
    earlier = Result.load(old)
    assert earlier.best.value == 1
    run(tmp_path / "elsewhere", "echo loss=2", fresh=True)  # with nothing to set aside


def test_keep_goes_on_and_says_so_in_report_and_history(tmp_path: Path) -> None:
    run(tmp_path, "echo loss=1")
    result = run(tmp_path, "echo loss=2", {"spec.maxTrialCount": 2}, keep=True)
    assert [trial.value for trial in result.trials] == [1, 2]
    header = json.loads((tmp_path / "sample/study.jsonl").read_text().splitlines()[0])
    (kept,) = header["kept"]
    assert kept["trials"] == [0]
    assert 'found "echo loss=2"; the trials on record had "echo loss=1"' in kept["changes"][0]
    page = result.report.read_text(encoding="utf-8")
    assert "kept from before a change: the trials 0" in page
    run(tmp_path, "echo loss=2", {"spec.maxTrialCount": 2})  # it is this Experiment's run now
    with pytest.raises(InputError, match="is not of this Experiment"):
        run(tmp_path, "echo loss=1", {"spec.maxTrialCount": 2})


def test_a_changed_script_and_a_module_of_it_are_found(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    script, module = tmp_path / "code/train.py", tmp_path / "code/model.py"
    script.write_text("from model import loss\nprint(f'loss={loss}')\n")
    module.write_text("loss = 1\n")
    command = {
        "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.command": [
            *("python3", "/opt/code/train.py", "--x=${trialParameters.x}")
        ]
    }
    maps = {"/opt/code": tmp_path / "code"}
    run(tmp_path, "", command, maps=maps)
    run(tmp_path, "", command, maps=maps)
    module.write_text("loss = 2\n")
    with pytest.raises(InputError, match=r"/opt/code/model\.py: found another content"):
        run(tmp_path, "", command, maps=maps)
    result = run(tmp_path, "", {**command, "spec.maxTrialCount": 2}, maps=maps, keep=True)
    assert [trial.value for trial in result.trials] == [1, 2]


def test_an_edited_function_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    def first() -> Experiment:
        def train(x: float) -> float:
            return x

        return tune(train, {"x": search.double(min=0, max=1)}, max_trial_count=1)

    def second() -> Experiment:
        def train(x: float) -> float:
            return -x

        return tune(train, {"x": search.double(min=0, max=1)}, max_trial_count=1)

    first().run(runs=tmp_path, progress=False)
    with pytest.raises(InputError, match=r'"return -x"; the trials on record had "return x"'):
        second().run(runs=tmp_path, progress=False)


def test_fresh_ends_what_the_run_before_has_left(tmp_path: Path) -> None:
    experiment = Experiment(document(waits_for(tmp_path / "never"), FEW))
    left = _left_running(experiment, tmp_path)
    assert left
    experiment = Experiment(document("echo loss=1", FEW))
    experiment.run(runs=tmp_path, fresh=True, progress=False)
    assert processes_below(tmp_path) == []


def _left_running(experiment: Experiment, folder: Path) -> list[Any]:
    """Starts a run in a process that is killed as soon as its trial runs."""
    import subprocess
    import sys

    (folder / "left.yaml").write_text(experiment.to_yaml())
    code = (
        "import os, signal\n"
        "from katibflow.engine.events import TrialStarted\n"
        "from katibflow.progress import status\n"
        "after = status.Status.after\n"
        "def die(self, update):\n"
        "    if isinstance(update, TrialStarted):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return after(self, update)\n"
        "status.Status.after = die\n"
        "from katibflow import Experiment\n"
        f"Experiment.from_yaml({str(folder / 'left.yaml')!r}).run(runs={str(folder)!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    return processes_below(folder)


def test_a_run_that_nobody_runs_is_interrupted_and_its_trials_do_not_run(tmp_path: Path) -> None:
    run(tmp_path, "echo loss=1")
    records = FolderRecords(tmp_path / "sample")
    records.put(Trial(1, TrialState.RUNNING, {"x": "1"}))
    more = Experiment(document("echo loss=1", {"spec.maxTrialCount": 3}))
    header, *lines = (tmp_path / "sample/study.jsonl").read_text().splitlines()
    changed = {**json.loads(header), "experiment": more.model.document()}
    (tmp_path / "sample/study.jsonl").write_text("\n".join([json.dumps(changed), *lines]) + "\n")
    result = Result.load(tmp_path / "sample")
    assert result.reason == "Interrupted"
    assert "no program runs it now" in result.message
