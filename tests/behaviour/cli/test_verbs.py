"""``katibflow list | show | best | logs | stop | report`` on runs of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from katibflow import Result, Run
from katibflow.errors import InputError
from katibflow.runners.local.lock import RunLock
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import read_run
from katibflow.study.history import (
    History,
    Observation,
    Trial,
    TrialState,
    dump_history,
)
from tests.doubles.kfp.lab import Done, katibflow
from tests.processes import finish
from tests.samples import experiment
from tests.shell_trials import document, processes_below
from tests.warm import client as warm

Ask = Callable[..., Done]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The command line, in a folder from which nothing leads to a cluster."""
    for name in list(os.environ):
        if name.startswith("KF_PIPELINES_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.chdir(tmp_path)
    return katibflow


def put_run(path: Path, run: str = "0a1b2c3d", count: int = 3) -> Path:
    """A run that has ended, with as many trials as it may have."""
    trials = tuple(
        Trial(
            number,
            TrialState.COMPLETE,
            {"lr": f"0.{number + 1}"},
            {"loss": Observation(*[1.0 - number / 10] * 3)},
            queued="2026-01-31T08:00:00.000+00:00",
            job=f"sample-{run}-{number}",
        )
        for number in range(count)
    )
    of = experiment({"spec.maxTrialCount": count})
    RunFolder(path).save(History(of, run, 1, trials))
    for number in range(count):
        folder = path / f"trials/000{number}"
        folder.mkdir(parents=True)
        (folder / "job-0.log").write_text(f"epoch of {number}\nloss=1")
    return path


def test_a_run_is_meant_by_its_path_its_name_or_its_id(ask: Ask) -> None:
    put_run(Path("runs/sample"))
    shutil.move(put_run(Path("runs/other"), "44445555"), "elsewhere")
    (row,) = ask("list").out.splitlines()[1:]
    assert row.split()[:6] == ["sample", "0a1b2c3d", "local", "sample", "SUCCEEDED", "3/3"]
    for wanted in ("sample", "runs/sample", "runs/sample/", "runs/sample/study.jsonl", "0a1b"):
        shown = ask("show", wanted)
        assert shown.code == 0, shown.err
        assert "ExperimentMaxTrialsReached: 3 trials ended" in shown.out
    assert ask("best", "elsewhere").out == "lr=0.3\n"
    assert ask("best", "sample", "--runs", "elsewhere").code == 2
    for wanted in ("sample", "0a1b", "runs/sample"):
        assert ask("report", wanted).out.endswith("report: runs/sample/report.html\n")
        assert len(Result.load(wanted).trials) == 3
    assert ask("report", "other", "--runs", "elsewhere").code == 2
    assert ask("report", "absent").err.startswith('RUN: found "absent"; allowed: a run\'s folder')
    for wanted in ("absent", "runs/absent", "", "4444"):
        absent = ask("show", wanted)
        assert (absent.code, absent.out) == (2, "")
        assert absent.err.startswith(f'RUN: found "{wanted}"; allowed: a run\'s folder')


def test_every_verb_tells_a_local_run_as_json_with_the_keys_of_all_runs(ask: Ask) -> None:
    put_run(Path("runs/sample"))
    (listed,) = json.loads(ask("list", "--json").out)["runs"]
    shown = json.loads(ask("show", "sample", "--json").out)
    assert json.loads(ask("show", "sample", "--follow", "--json").out) == shown
    assert len(shown.pop("history")) == 3
    assert shown == listed
    assert listed == {
        "on": "local",
        "experiment": "sample",
        "run": "0a1b2c3d",
        "name": "sample",
        "state": "SUCCEEDED",
        "created": "2026-01-31T08:00:00+00:00",
        "succeeded": True,
        "reason": "ExperimentMaxTrialsReached",
        "message": "3 trials ended, maxTrialCount is 3",
        "best": {"trial": 2, "objective": 0.8, "assignments": {"lr": "0.3"}},
        "trials": {"COMPLETE": 3},
        "stall": None,
        "link": "runs/sample",
    }
    stopped = json.loads(ask("stop", "sample", "--json").out)
    assert (stopped["asked"], stopped["done"], stopped["run"]) == (False, True, "0a1b2c3d")


def test_nothing_is_listed_without_an_error_where_there_is_nothing(ask: Ask) -> None:
    done = ask("list")
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[:2] == ["NAME", "RUN"]
    assert ask("list", "--json").out == '{"runs": []}\n'


def test_a_run_that_cannot_be_read_hides_no_other(ask: Ask) -> None:
    put_run(Path("runs/good"))
    (put_run(Path("runs/bad")) / "study.jsonl").write_text("no history\n")
    for options in ([], ["--on", "local"]):
        done = ask("list", *options)
        assert done.code == 0
        assert [line.split()[0] for line in done.out.splitlines()] == ["NAME", "good"]
        assert done.err.startswith("left out, as it cannot be read: runs/bad/study.jsonl")
    for verb in ("show", "best", "report", "stop"):
        assert ask(verb, "runs/bad").code == 1  # its records are at fault, not the command


def test_a_report_overwrites_nothing_of_its_run(ask: Ask) -> None:
    folder = put_run(Path("runs/sample"))
    (folder / "lock").touch()
    for wrong in ("study.jsonl", "lock"):
        done = ask("report", str(folder), "-o", str(folder / wrong))
        assert (done.code, done.out) == (2, "")
        assert "found a file of the run; allowed: runs/sample/report.html, or another" in done.err
    for wrong, what in (("-", "no name of a file"), ("/dev/null", "a device or a pipe")):
        done = ask("report", str(folder), "-o", wrong)
        assert (done.code, f"{wrong}: found {what}; allowed: a file" in done.err) == (2, True)
    assert ask("report", str(folder), "-o", str(folder / "mine.html")).code == 0
    assert ask("show", str(folder)).code == 0


def test_a_folder_of_runs_that_is_a_file_is_refused(ask: Ask, tmp_path: Path) -> None:
    Path("file").touch()
    (tmp_path / "e.yaml").write_text(json.dumps(document("echo loss=1", {})))
    for command in (["list"], ["run", "e.yaml"]):
        done = ask(*command, "--runs", "file")
        assert done.code == 2
        assert "--runs file: " in done.err


def test_a_pipe_in_the_place_of_a_history_stops_no_command(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(json.dumps(document("echo loss=1", {})))
    folder = Path("runs/sample")
    folder.mkdir(parents=True)
    os.mkfifo(folder / "study.jsonl")
    done = ask("run", "e.yaml")
    assert (done.code, done.out) == (1, "")
    assert "runs/sample/study.jsonl: cannot be read: is no regular file" in done.err
    for verb in ("show", "report"):
        done = ask(verb, "runs/sample")
        assert (done.code, done.out, "runs/sample" in done.err) == (2, "", True)
    assert [path.name for path in folder.iterdir() if path.name != "lock"] == ["study.jsonl"]


def test_logs_are_read_from_the_folder(ask: Ask) -> None:
    put_run(Path("runs/sample"))
    assert ask("logs", "sample", "1").out == "==> job-0 <==\nepoch of 1\nloss=1\n"
    assert ask("logs", "sample", "1", "--follow").out == "==> job-0 <==\nepoch of 1\nloss=1\n"
    assert [line for line in ask("logs", "sample").out.splitlines() if "==>" in line] == [
        f"==> trial {number} job-0 <==" for number in range(3)
    ]
    missing = ask("logs", "sample", "3")
    assert (missing.code, missing.err) == (2, "TRIAL: found 3; allowed: 0 to 2\n")
    Path("runs/sample/trials/0002/job-0.log").unlink()
    assert (ask("logs", "sample", "2").code, ask("logs", "sample", "2").out) == (1, "")


def test_a_history_that_was_downloaded_is_enough(ask: Ask) -> None:
    history = read_run(put_run(Path("x"))).history
    shutil.rmtree("x")
    Path("d").mkdir()
    Path("d/from-kfp.jsonl").write_text(dump_history(history))
    done = ask("report", "d")
    assert done.code == 0, done.err
    assert done.out.endswith("report: d/from-kfp.html\n")
    assert Path("d/from-kfp.html").read_text().startswith("<!DOCTYPE html>")
    for wanted in ("d", "d/from-kfp.jsonl"):
        assert ask("best", wanted).out == "lr=0.3\n"
    assert "log: none" not in done.out
    assert ask("logs", "d/from-kfp.jsonl", "0").code == 1
    Path("d/second.jsonl").write_text(dump_history(history))
    several = ask("report", "d")
    assert several.code == 2
    assert "d: found 2 histories; allowed: one of d/from-kfp.jsonl, d/second.jsonl" in several.err
    Path("study.jsonl").write_text(dump_history(history))
    assert read_run(Path("study.jsonl")).folder.report == Path("report.html")


def test_python_has_the_same(ask: Ask) -> None:
    put_run(Path("runs/sample"))
    run = Run.find("sample")
    (listed,) = Run.latest()
    assert (run.on, run.name, run.link, run.run_id) == (
        "local",
        "sample",
        "runs/sample",
        "0a1b2c3d",
    )
    assert repr(listed) == repr(run) == "<Run sample on local: 0a1b2c3d runs/sample>"
    assert (run.state, len(run.trials), run.best and run.best.number) == ("SUCCEEDED", 3, 2)
    shown = run._repr_html_()
    assert "Succeeded. 3 trials ended, maxTrialCount is 3" in shown
    assert shown.count("<tr>") >= 4, "a row for each trial"
    assert list(run.logs(0)) == ["epoch of 0", "loss=1"]
    with pytest.raises(InputError, match="trial: found '0'; allowed: a trial's number"):
        run.logs("0")  # type: ignore[arg-type]
    assert run.wait(progress=False).folder == Path("runs/sample")
    assert run.stop().is_done
    with pytest.raises(InputError, match="allowed: a run's folder"):
        Run.find("absent")


@pytest.fixture
def going(ask: Ask, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of two trials that print a line and wait for ever."""
    file = tmp_path / "e.yaml"
    script = "echo begun; while :; do sleep 1; done"
    file.write_text(json.dumps(document(script, {"spec.parallelTrialCount": 2})))
    process = warm.popen("run", file)
    assert process.stdout is not None
    begun = 0
    while begun < 2:
        begun += "started" in process.stdout.readline()
    yield process
    if process.poll() is None:
        process.kill()
    finish(process)


def test_a_run_is_followed_and_stopped_from_another_terminal(
    ask: Ask, going: subprocess.Popen[str], tmp_path: Path
) -> None:
    (row,) = ask("list").out.splitlines()[1:]
    assert row.split()[4:6] == ["RUNNING", "0/6"]
    assert "\nRunning: 0 of 6 trials ended, 2 running\n" in ask("show", "sample").out
    assert json.loads(ask("show", "sample", "--json").out)["succeeded"] is None
    follower = warm.popen("logs", "runs/sample", "1", "--follow")
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(2)] == ["==> job-0 <==\n", "begun\n"]
    stopped = ask("stop", "sample")
    assert (stopped.code, stopped.err) == (0, "")
    assert stopped.out == "runs/sample is stopped: 0 of 2 trials on record have ended\n"
    code, out, _ = finish(going)
    assert code == 130  # as by Ctrl-C
    assert "Interrupted: interrupted by signal 2; the same command goes on from here" in out
    assert processes_below(tmp_path / "runs") == []
    assert ">Interrupted<" in Path("runs/sample/report.html").read_text()
    assert finish(follower)[0] == 0
    assert ask("list").out.splitlines()[1].split()[4] == "INTERRUPTED"
    assert json.loads(ask("stop", "sample", "--json").out)["asked"] is False


def test_a_run_whose_program_was_killed_is_stopped_to_the_last_process(
    ask: Ask, going: subprocess.Popen[str], tmp_path: Path
) -> None:
    going.kill()
    finish(going)
    assert processes_below(tmp_path / "runs") != []
    stopped = ask("stop", "sample")
    assert stopped.code == 0, stopped.err
    assert processes_below(tmp_path / "runs") == []


def test_a_lock_that_is_not_this_machine_s_is_said_to_be_so(ask: Ask) -> None:
    folder = put_run(Path("runs/sample"))
    with RunLock(folder):
        (folder / "lock").write_text("1\n")  # as from another container: there, it is the run
        done = ask("stop", "sample")
    assert (done.code, done.out) == (1, "")
    assert "runs/sample: in use by process 1, which cannot be seen from here" in done.err


def test_a_second_stop_sends_no_second_signal(ask: Ask) -> None:
    """A second signal would end the run at once, and leave its trials."""
    from katibflow.runs.stopping import stop_run

    folder = put_run(Path("runs/sample"))
    with RunLock(folder) as lock:
        lock.note_stopping()
        stopped = stop_run(folder, print, patience=0.01)
    assert (stopped.asked, stopped.is_done) == (False, False)
    assert f"process {os.getpid()} was asked to end, and has not" in stopped.text
