"""Optuna's dashboard of runs, history files and storages, as a process and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from typer.testing import CliRunner

from katibflow.cli import app
from katibflow.errors import HistoryError, InputError, MissingPackage
from katibflow.runs.running import read_run
from katibflow.study.history import dump_history, load_history
from tests.searching import experiment, searched
from tests.shell_trials import document, waits_for
from tests.warm import client as warm

CHROMIUM = shutil.which("chromium")


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[str]:
    """The address of a dashboard that runs while the block does."""
    process = warm.popen("dashboard", *words, "--port", "0", "--no-browser", cwd=folder)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/\S+) \(Ctrl-C ends it\)\n", line)
        assert found, line + process.communicate(timeout=60)[1]
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def deleted(address: str, path: str, **headers: str) -> int:
    """The status of a request to delete something."""
    url = address.partition("/dashboard")[0] + path
    try:
        with urlopen(Request(url, method="DELETE", headers=headers), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def ask(address: str, path: str) -> Any:
    """What the dashboard's own page asks for."""
    with urlopen(address.partition("/dashboard")[0] + path, timeout=10) as answer:
        return json.load(answer)


def states(address: str, study: int = 0) -> list[str]:
    return [trial["state"] for trial in ask(address, f"/api/studies/{study}")["trials"]]


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits until the dashboard shows something; it asks its storage every 2 s at most."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def browse(address: str, folder: Path) -> str:
    """The text of a page after its scripts ran."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=15000"),
            *("--window-size=1280,2400", "--dump-dom", address),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    body = done.stdout[done.stdout.index("<body") :]
    return " ".join(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", body, flags=re.S).split())


def write_run(folder: Path, script: str, **changes: Any) -> None:
    """An Experiment of two trials at once, and a storage for it."""
    settings = {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 2, **changes}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document(script, settings)))


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = warm.popen(
        "run", "experiment.yaml", "--storage", "studies.log", cwd=folder, stderr=None
    )
    try:
        yield process
        assert process.wait(timeout=180) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_a_run_is_seen_in_the_browser_while_it_goes_on_and_when_it_is_over(tmp_path: Path) -> None:
    script = f"echo loss=$((X+1)); {waits_for(tmp_path / 'go')}; echo loss=$X"
    write_run(tmp_path, script)
    with running(tmp_path) as process:
        assert process.stdout is not None
        assert sum("started" in process.stdout.readline() for _ in range(2)) == 2
        with (
            serving(tmp_path, "runs/sample") as folder,
            serving(tmp_path, "--storage", "studies.log") as storage,
        ):
            until(lambda: states(folder) == ["Running"] * 2)
            run = read_run(tmp_path / "runs/sample").history
            loss = [int(trial.assignments["x"]) for trial in run.trials]
            assert folder.endswith("/dashboard/studies/0")
            until(lambda: len(ask(storage, "/api/studies/0")["trials"]) == 2)
            until(
                lambda: all(
                    trial["intermediate_values"]
                    for trial in ask(storage, "/api/studies/0")["trials"]
                )
            )
            shown = browse(f"{storage}/studies/0/trials?numbers=1", tmp_path)
            assert "2 Trials Trial 0 Running Trial 1 Running" in shown
            assert f"Intermediate Values 0 {loss[1] + 1} Parameter x {loss[1]}" in shown
            (tmp_path / "go").touch()
            until(lambda: states(folder) == ["Complete"] * 2)
            until(lambda: states(storage) == ["Complete"] * 2)
            for page in (folder, f"{storage}/studies/0"):
                shown = browse(page, tmp_path)
                assert f"Best Trial (number={loss.index(min(loss))}) {min(loss)}" in shown
                assert "sample (id=0)" in shown and "Timeline" in shown


def test_a_history_file_is_shown_and_followed(tmp_path: Path) -> None:
    """As one that was downloaded, of any name, and put in another's place."""
    history = searched(experiment("random"), 3)
    file = tmp_path / "downloaded"
    file.write_text(dump_history(replace(history, trials=history.trials[:2])))
    with serving(tmp_path, "downloaded") as address:
        assert deleted(address, "/api/studies/0") == 403
        assert deleted(address, "/api/studies/0", Host="evil.example") == 403
        assert states(address) == ["Complete"] * 2
        (tmp_path / "other").write_text("not it")
        (tmp_path / "new").write_text(dump_history(history))
        (tmp_path / "new").replace(file)
        until(lambda: states(address) == ["Complete"] * 3)
        params = ask(address, "/api/studies/0")["trials"][2]["params"]
        assert {each["name"]: each["param_external_value"] for each in params}[
            "batch"
        ] == history.trials[2].assignments["batch"]


def test_a_history_that_cannot_be_read_for_a_moment_is_told_and_read_again(tmp_path: Path) -> None:
    history = searched(experiment("random"), 2)
    file = tmp_path / "study.jsonl"
    file.write_text(dump_history(replace(history, trials=history.trials[:1])))
    process = subprocess.Popen(
        [*(sys.executable, "-m", "katibflow", "dashboard", "study.jsonl"), "--port", "0"],
        cwd=tmp_path,
        env={"PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().split()[0]
        assert len(states(address)) == 1
        file.write_text("no history")
        assert "study.jsonl, line 1: not JSON" in process.stderr.readline()
        other = load_history(dump_history(history).replace("00000000", "11111111"))
        file.write_text(dump_history(other))
        assert "another run is there now" in process.stderr.readline()
        file.write_text(dump_history(history))
        until(lambda: len(states(address)) == 2)
    finally:
        process.kill()
        process.communicate()


def refusal(*words: str) -> Exception:
    done = CliRunner().invoke(app, ["dashboard", "--no-browser", "--port", "0", *words])
    assert isinstance(done.exception, Exception), done.output
    return done.exception


def test_what_cannot_be_shown_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text").write_text("text")
    for words, kind, text in [
        ([], InputError, "RUN|FILE, --storage: found neither; allowed: one of them"),
        (["x", "--storage", "y"], InputError, "RUN|FILE, --storage: found both; allowed"),
        (["empty"], InputError, "empty: found no study.jsonl; allowed: the folder of a run"),
        (["nothing"], InputError, "nothing: found no study.jsonl; allowed: the folder of a run"),
        (["text"], HistoryError, "text, line 1: not JSON"),
        (["--storage", "nothing.log"], InputError, "--storage nothing.log: found no such file"),
        (["--storage", "sqlite:///a.db"], InputError, "--storage sqlite:///a.db: found no such"),
        (["--storage", "text"], InputError, "--storage text: found a file that is no journal"),
    ]:
        error = refusal(*words)
        assert type(error) is kind and text in str(error) and "\n" not in str(error), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text"]


def test_a_port_that_is_taken_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "study.jsonl"
    file.write_text(dump_history(searched(experiment("random"), 1)))
    with serving(tmp_path, "study.jsonl") as address:
        port = address.split(":")[2].split("/")[0]
        error = refusal(str(file), "--port", port)
    assert isinstance(error, InputError)
    assert f"--host 127.0.0.1 --port {port}: cannot listen there" in str(error)
    assert "in use" in str(error) and "--port 0 takes a free one" in str(error)


def test_an_absent_dashboard_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.jsonl"
    file.write_text(dump_history(searched(experiment("random"), 1)))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    error = refusal(str(file))
    assert isinstance(error, MissingPackage)
    assert str(error) == (
        "katibflow dashboard needs katibflow[dashboard]: pip install 'katibflow[dashboard]'"
    )
