from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import finish
from tests.samples import SEED_FILE
from tests.shell_trials import document, processes_below
from tests.warm import client as warm

KATIBFLOW = [sys.executable, "-m", "katibflow"]


def write(folder: Path, script: str, changes: Mapping[str, Any] | None = None) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(document(script, changes)))
    return path


def start(*words: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return warm.popen(*words, cwd=cwd)


def katibflow(*words: str | Path, cwd: Path) -> tuple[int, str, str]:
    return finish(start(*words, cwd=cwd))


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"no line with {pattern}")


def wait_for_trials(process: subprocess.Popen[str], numbers: str) -> None:
    """Waits until all these trials are said to have started: at a time, so in any order."""
    left = set(numbers)
    while left:
        line = wait_for_line(process, r"trial \d started")
        left -= set(re.findall(r"trial (\d) started", line))


def test_compile_says_which_layout_the_file_has_and_why(tmp_path: Path) -> None:
    few = write(tmp_path, "echo loss=$X")
    words = ("-o", "out.yaml", "--image", "i")
    code, out, err = katibflow("compile", few, *words, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert re.match(
        r"layout rounds: 6 trials in rounds of 3 take \d+% of .*\nout\.yaml: \d+ KB", out
    )
    many = write(tmp_path, "echo loss=$X", {"spec.maxTrialCount": 100_000})
    code, out, err = katibflow("compile", many, *words, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("layout controller: 100000 trials are 33334 rounds, and a run holds ")
    code, _, err = katibflow("compile", many, *words, "--layout", "rounds", cwd=tmp_path)
    assert code == 2
    assert "experiment.yaml: spec.maxTrialCount: found 100000, which is 33334 rounds of 3" in err


def test_run_prints_each_trial_and_the_best(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=$X", {"spec.parallelTrialCount": 1})
    code, out, err = katibflow("run", file, cwd=tmp_path)
    assert (code, err) == (0, "")
    started = re.findall(r"^\d\d:\d\d:\d\d trial (\d) started: x=\d+$", out, re.MULTILINE)
    ended = re.findall(r"^\S+ trial (\d) complete after [\d.]+ s: loss=(\d+)", out, re.MULTILINE)
    assert started == [number for number, _ in ended] == list("012345")
    number, value = min(ended, key=lambda pair: (float(pair[1]), int(pair[0])))
    assert f"best trial: {number}, loss={value}\n  x={value}\n" in out
    assert "ExperimentMaxTrialsReached: 6 trials ended, maxTrialCount is 6" in out
    assert "report: runs/sample/report.html" in out
    assert (tmp_path / "runs/sample/report.html").read_text().startswith("<!DOCTYPE html>")
    lines = (tmp_path / "runs/sample/study.jsonl").read_text().splitlines()
    assert [json.loads(line).get("number") for line in lines] == [None, 0, 1, 2, 3, 4, 5]


def test_run_with_json_prints_one_object(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=$X", {"spec.objective.goal": 99})
    code, out, err = katibflow("run", file, "--json", cwd=tmp_path)
    assert code == 0
    result = json.loads(out)
    assert (result["succeeded"], result["reason"]) == (True, "ExperimentGoalReached")
    assert result["best"]["objective"] == float(result["best"]["assignments"]["x"])
    assert "trial 0 started" in err
    assert (tmp_path / result["report"]).is_file()


def test_too_many_failed_trials_exit_with_1(tmp_path: Path) -> None:
    file = write(tmp_path, "echo no data; exit 7", {"spec.maxFailedTrialCount": 2})
    code, out, _ = katibflow("run", file, cwd=tmp_path)
    assert code == 1
    assert re.search("ExperimentFailed: [23] trials failed, maxFailedTrialCount is 2", out)
    assert "exit code 7" in out
    # What went wrong comes last, with the file to look at.
    assert out.splitlines()[-1].startswith("log: runs/sample/trials/000")
    assert "no data" in out
    assert "no trial has a finite objective value" in out


def test_a_run_without_a_single_value_exits_with_1_and_some_failures_are_listed(
    tmp_path: Path,
) -> None:
    two = {"spec.maxTrialCount": 2, "spec.parallelTrialCount": 1}
    file = write(tmp_path, "echo 'ValueError: no good'; exit 7", two)
    code, out, _ = katibflow("run", file, cwd=tmp_path)
    assert code == 1
    assert "ExperimentMaxTrialsReached: 2 trials ended" in out
    assert "the first 2 trials failed in the same way: ValueError: no good" in out
    assert "no trial has a finite objective value; 2 trials (0, 1): ValueError: no good" in out
    assert out.partition("no trial has a finite")[2].count("exit code 7") == 1
    page = (tmp_path / "runs/sample/report.html").read_text(encoding="utf-8")
    assert '<span class="badge bad">No result</span>' in page
    some = 'case "$KATIB_TRIAL_NAME" in *-0) exit 3;; esac; echo loss=1'
    code, out, _ = katibflow("run", write(tmp_path, some, two), "--name", "some", cwd=tmp_path)
    assert code == 0
    assert "\n1 of 2 trials succeeded; 1 failed\n" in out
    summary = out.partition("trials succeeded")[2]
    assert "\nfailures:\n  1 trial (0): job-0 failed with exit code 3" in summary
    assert summary.count("exit code 3") == 1
    assert out.count("ExperimentMaxTrialsReached") == 1
    assert "    log: runs/some/trials/0000/job-0.log" in out


@pytest.mark.parametrize("command", ["run", "validate", "compile"])
def test_a_bad_file_names_all_faults_and_starts_nothing(tmp_path: Path, command: str) -> None:
    file = write(tmp_path, "touch ran", {"spec.maxTrialCount": 0, "spec.objective.kind": "x"})
    more = ["-o", str(tmp_path / "out.yaml")] if command == "compile" else []
    code, out, err = katibflow(command, file, *more, cwd=tmp_path)
    assert (code, out) == (2, "")
    second, first = err.splitlines()
    assert first.startswith(f"{file}: spec.objective.kind: found an unknown key")
    assert second.startswith(f"{file}: spec.maxTrialCount: found 0; allowed: ")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "missing.yaml"], "missing.yaml: no such file"),
        (["run", "."], ".: a folder; allowed: an Experiment's YAML file"),
        (["run", "good.yaml", "--map", "/opt/x"], "--map"),
        (["run", "good.yaml", "--map", "/opt/x=nowhere"], "nowhere"),
        (["run", "good.yaml", "--map", "opt=."], "opt"),
        (["run", "good.yaml", "--trial-timeout", "0"], "--trial-timeout"),
        (
            ["run", "good.yaml", "--name", "Not_A_Name"],
            '--name (metadata.name): found "Not_A_Name"',
        ),
        (["compile", "good.yaml", "-o", "no/folder/x.yaml"], "found no folder no/folder"),
        (["compile", "good.yaml", "-o", "x", "--image", "a", "--package", "b"], "found both"),
        (["report", "runs/none"], "runs/none: found no study.jsonl"),
        (
            ["report", "good.yaml"],
            "good.yaml: found a file that is no history",
        ),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_bad_words_are_named_and_exit_with_2(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(document("touch ran")))
    code, out, err = katibflow(*words, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["good.yaml"]


def test_the_seed_without_a_map_is_refused_with_the_map_to_give(tmp_path: Path) -> None:
    code, _, err = katibflow("run", SEED_FILE, cwd=tmp_path)
    assert code == 2
    assert f"{SEED_FILE}: spec.trialTemplate.trialSpec" in err
    assert "--map /opt/pytorch-mnist=DIR" in err
    assert list(tmp_path.iterdir()) == []


def test_validate_takes_many_files_and_prints_json(tmp_path: Path) -> None:
    file = write(tmp_path, "true", {"spec.maxTrialCount": -1})
    code, out, err = katibflow("validate", "--json", SEED_FILE, file, cwd=tmp_path)
    assert code == 2
    good, bad = json.loads(out)["files"]
    assert (good["valid"], good["faults"]) == (True, [])
    assert [fault["path"] for fault in bad["faults"]] == ["spec.maxTrialCount"]
    assert "spec.maxTrialCount" in err


def test_validate_says_what_a_valid_file_asks_for(tmp_path: Path) -> None:
    code, out, err = katibflow("validate", SEED_FILE, cwd=tmp_path)
    assert code == 0
    assert err.startswith(f"{SEED_FILE}: note: objective.goal: ") and err.count("\n") == 1
    assert out == (
        f"{SEED_FILE}: valid: mnist-pytorch, 2 parameters, random, 12 trials, 3 at a time\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process_and_the_run_goes_on_later(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = f"[ -e {tmp_path}/go ] || sleep 600; echo loss=$X"
    file = write(tmp_path, script)
    process = start("run", file, cwd=tmp_path)
    wait_for_trials(process, "012")
    process.send_signal(number)
    code, out, _ = finish(process)
    assert code == 128 + number
    assert f"interrupted by signal {int(number)}: 3 running trials stopped" in out
    assert f"interrupted by signal {int(number)}; the same command goes on from here" in out
    page = (tmp_path / "runs/sample/report.html").read_text(encoding="utf-8")
    assert '<span class="badge stopped">Interrupted</span>' in page
    assert page.count('<span class="state interrupted">interrupted</span>') == 3
    assert processes_below(tmp_path) == []
    (tmp_path / "go").touch()
    code, out, _ = katibflow("run", file, cwd=tmp_path)
    assert code == 0
    assert sorted(re.findall(r"trial (\d) begun anew", out)) == list("012")
    assert sorted(re.findall(r"trial (\d) started", out)) == list("345")


def test_a_second_run_of_the_same_name_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    file = write(tmp_path, "sleep 600")
    first = start("run", file, cwd=tmp_path)
    wait_for_line(first, "trial 0 started")
    code, _, err = katibflow("run", file, cwd=tmp_path)
    assert code == 1
    assert f"in use by process {first.pid}" in err
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 128 + signal.SIGTERM


def test_another_search_space_under_the_same_name_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=$X")
    assert katibflow("run", file, cwd=tmp_path)[0] == 0
    before = (tmp_path / "runs/sample/study.jsonl").read_text()
    file = write(tmp_path, "echo loss=$X", {"spec.parameters.0.feasibleSpace.max": "50"})
    code, _, err = katibflow("run", file, cwd=tmp_path)
    assert code == 2
    assert 'spec.parameters[0].feasibleSpace: found {"min":"0","max":"50"' in err
    assert (tmp_path / "runs/sample/study.jsonl").read_text() == before
    assert katibflow("run", file, "--name", "other", cwd=tmp_path)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["other", "sample"]


def test_more_trials_go_on_after_the_first_ones(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=$X")
    assert katibflow("run", file, cwd=tmp_path)[0] == 0
    file = write(tmp_path, "echo loss=$X", {"spec.maxTrialCount": 8})
    code, out, _ = katibflow("run", file, cwd=tmp_path)
    assert code == 0
    assert sorted(re.findall(r"trial (\d) started", out)) == ["6", "7"]


def test_report_of_a_run_can_be_written_elsewhere_with_links_to_the_logs(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=$X")
    assert katibflow("run", file, cwd=tmp_path)[0] == 0
    (tmp_path / "page").mkdir()
    code, out, err = katibflow("report", "runs/sample", "-o", "page/r.html", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "report: page/r.html" in out
    links = re.findall(r'href="([^"#]+\.log)"', (tmp_path / "page/r.html").read_text())
    assert len(links) == 6
    assert (tmp_path / "page" / links[0]).read_text().startswith("loss=")


def test_report_of_a_running_experiment_says_that_it_runs(tmp_path: Path) -> None:
    process = start("run", write(tmp_path, "sleep 600"), cwd=tmp_path)
    try:
        wait_for_trials(process, "012")
        code, out, _ = katibflow("report", "runs/sample", cwd=tmp_path)
        assert code == 0
        assert re.search("^Running: 0 of 6 trials ended, 3 running$", out, re.MULTILINE)
    finally:
        process.send_signal(signal.SIGTERM)
        finish(process)


def test_a_terminal_gets_a_live_table(tmp_path: Path) -> None:
    file = write(tmp_path, "sleep 0.3; echo loss=$X", {"spec.maxTrialCount": 3})
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*KATIBFLOW, "run", str(file)],
        cwd=tmp_path,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    screen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([controller], [], [], 1)
        try:
            screen += os.read(controller, 65536) if ready else b""
        except OSError:  # the terminal's other side is closed
            break
    os.close(controller)
    assert process.wait(timeout=10) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.decode())
    assert re.search(r"trial +state +loss \(min\) +x +time", text)
    assert "running" in text
    assert re.search(r"3 of 3 trials ended, best loss=\d+ in trial [012]", text)
    assert "ExperimentMaxTrialsReached" in text
    assert "Traceback" not in text


def test_version_is_the_package_s(tmp_path: Path) -> None:
    code, out, _ = katibflow("--version", cwd=tmp_path)
    assert (code, out) == (0, "0.1.0\n")
