"""Kills the command at random moments by SIGKILL and starts it again."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import yaml

from tests.shell_trials import document, processes_below
from tests.warm import client as warm

TRIALS = 18


def run(
    file: Path, folder: Path, lines: int, seconds: float, *words: str
) -> tuple[int | None, str]:
    """Kills the command ``seconds`` after it printed some lines (never if negative).

    Returns:
        Its exit status, or None if it was killed, and its output.
    """
    process = warm.popen("run", file, *words, cwd=folder, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    seen = "".join(islice(process.stdout, lines))
    try:
        process.wait(timeout=seconds if seconds >= 0 else 60)
    except subprocess.TimeoutExpired:
        process.kill()
    # The pipe closes with the tool: its trials write to files of their own.
    seen += process.communicate(timeout=10)[0]
    return (None if process.returncode == -signal.SIGKILL else process.returncode), seen


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 10))]
)
def test_no_trial_is_lost_or_run_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    script = f"""
    echo "start $KATIB_TRIAL_NAME $X" >> {tmp_path}/ran
    sleep 0.6
    echo "end $KATIB_TRIAL_NAME $X" >> {tmp_path}/ran
    echo loss=$X"""
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(document(script, {"spec.maxTrialCount": TRIALS})))
    told: dict[str, str] = {}
    for _ in range(12):
        status, out = run(file, tmp_path, chance.choice((0, 1, 2, 3, 4, 6)), chance.random() * 0.5)
        for number, value in re.findall(r"trial (\d+) complete after \S+ s: loss=(\d+)", out):
            assert told.setdefault(number, value) == value
        if status is not None:
            break
    status, out = run(file, tmp_path, 0, -1)
    assert status == 0, out
    assert f"{TRIALS} trials ended" in out
    lines = (tmp_path / "ran").read_text().splitlines()
    assert Counter(line.split()[0] for line in lines) == {"start": TRIALS, "end": TRIALS}
    assert len({tuple(line.split()[:2]) for line in lines}) == 2 * TRIALS
    history = (tmp_path / "runs/sample/study.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in history[1:]]
    assert [trial["number"] for trial in trials] == list(range(TRIALS))
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    by_job = {line.split()[1]: line.split()[2] for line in lines}
    for trial in trials:
        assert trial["assignments"]["x"] == by_job[trial["job"]]
        assert trial["observations"]["loss"]["latest"] == float(trial["assignments"]["x"])
    for number, value in told.items():
        assert trials[int(number)]["observations"]["loss"]["latest"] == float(value)
    assert processes_below(tmp_path) == []


def test_what_a_killed_tool_left_ends_with_the_next_run(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    script = f'case "$KATIB_TRIAL_NAME" in *-0) echo loss=0;; *) touch {marker}; sleep 600;; esac'
    file = tmp_path / "experiment.yaml"
    changes = {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 2}
    file.write_text(yaml.safe_dump(document(script, changes)))
    process = warm.popen("run", file, cwd=tmp_path, stderr=None)
    assert process.stdout is not None
    assert any("trial 0 complete" in line for line in process.stdout)
    process.kill()
    process.communicate()
    assert len(processes_below(tmp_path)) >= 1
    # The goal is met by what is on record, so nothing is started and the rest is ended.
    file.write_text(yaml.safe_dump(document(script, {**changes, "spec.objective.goal": 0})))
    status, out = run(file, tmp_path, 0, -1, "--keep")
    assert status == 0
    assert "ExperimentGoalReached" in out
    assert processes_below(tmp_path) == []
