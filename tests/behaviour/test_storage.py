"""A run in an Optuna storage: live, without duplicates, and whatever the storage does."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from typer.testing import CliRunner

from katibflow.api.experiment import Experiment
from katibflow.cli import app
from katibflow.engine.events import MetricReported, TrialEnded, TrialStarted
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment as Checked
from katibflow.runs.running import read_run
from katibflow.storage.location import Storage, close
from katibflow.storage.sync import StudyCopy, StudySync
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.optuna_study import quiet_optuna, study_of
from katibflow.validation.rules import check_document
from tests.doubles.postgres import PASSWORD, QUOTED, Postgres, postgres
from tests.searching import experiment, history
from tests.shell_trials import document, waits_for
from tests.warm import client as warm

ENDS = "for i in 3 2 1; do echo loss=$((X+i)); done; [ $X -lt 70 ]"
SQLITE = "sqlite:///studies.db"
RUNNING = TrialState.RUNNING


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The text of ``--storage``."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("server")
        drop_studies(server.url)
        return server.url
    return {"sqlite": "sqlite:///studies.db", "journal": "journal.log"}[request.param]


def drop_studies(url: str) -> None:
    storage = Storage(url).created(lambda storage: storage)
    for study in storage.get_all_studies():
        storage.delete_study(study._study_id)
    close(storage)


def trials_in(place: str, folder: Path) -> list[FrozenTrial]:
    """The study's trials, as another program reads them."""
    if "://" not in place:
        place = str(folder / place)
    storage = Storage(place.replace("sqlite:///", f"sqlite:///{folder}/")).existing()
    try:
        study = storage.get_study_id_from_name("sample")
        return storage.get_all_trials(study)
    finally:
        close(storage)


def write(folder: Path, script: str, changes: Mapping[str, Any] | None = None) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document(script, changes)))


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return warm.popen("run", "experiment.yaml", *words, cwd=folder)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    return finish(start(folder, *words))


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Waits until another process has done something that only asking can tell."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def plain(trial: FrozenTrial) -> dict[str, Any]:
    """What is to be the same in the storage as in the study of the history."""
    return {
        "state": trial.state,
        "values": trial.values,
        "params": trial.params,
        "distributions": trial.distributions,
        "intermediate": trial.intermediate_values,
        "attributes": trial.user_attrs,
    }


def check_same(found: Sequence[FrozenTrial], made: History) -> None:
    """Checks that a study holds a history's trials, each once."""
    by_number = {trial.user_attrs["trial"]: trial for trial in found}
    assert len(by_number) == len(found)
    wanted = study_of(made).trials
    assert {number: plain(trial) for number, trial in sorted(by_number.items())} == {
        trial.number: plain(trial) for trial in wanted
    }


@pytest.mark.long
def test_a_run_is_in_the_storage_when_it_is_over(tmp_path: Path) -> None:
    write(tmp_path, ENDS)
    status, _, err = run(tmp_path, "--storage", SQLITE)
    assert (status, err) == (0, "")
    check_same(trials_in(SQLITE, tmp_path), read_run(tmp_path / "runs/sample").history)
    # The same command finds the run over, and the study as it is to be.
    status, _, err = run(tmp_path, "--storage", SQLITE)
    assert (status, err) == (0, "")
    check_same(trials_in(SQLITE, tmp_path), read_run(tmp_path / "runs/sample").history)
    # A run that goes on adds its new trials only.
    write(tmp_path, ENDS, {"spec.maxTrialCount": 8})
    assert run(tmp_path, "--storage", SQLITE)[0] == 0
    check_same(trials_in(SQLITE, tmp_path), read_run(tmp_path / "runs/sample").history)
    # Another run of the experiment goes on in the same study.
    assert run(tmp_path, "--storage", SQLITE, "--runs", "others")[0] == 0
    assert len(trials_in(SQLITE, tmp_path)) == 16


def test_a_running_trial_and_its_reports_are_seen(tmp_path: Path, place: str) -> None:
    script = f"echo loss=$((X+1)); {waits_for(tmp_path / 'go')}; echo loss=$X"
    write(tmp_path, script, {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 2})
    process = start(tmp_path, "--storage", place)

    def both_reported() -> list[FrozenTrial] | None:
        try:
            found = trials_in(place, tmp_path)
        except (InputError, KeyError):  # there is no storage, or no study, so early
            return None
        return found if sum(len(trial.intermediate_values) for trial in found) == 2 else None

    running = until(both_reported)
    assert [trial.state for trial in running] == [OptunaState.RUNNING] * 2
    assert all(trial.intermediate_values == {0: trial.params["x"] + 1} for trial in running)
    (tmp_path / "go").touch()
    assert finish(process)[0] == 0
    ended = trials_in(place, tmp_path)
    check_same(ended, read_run(tmp_path / "runs/sample").history)
    assert [trial.number for trial in ended] == [trial.number for trial in running]


@pytest.mark.parametrize(
    "place",
    ["sqlite", *(pytest.param(n, marks=pytest.mark.long) for n in ("journal", "postgresql"))],
    indirect=True,
)
def test_a_run_that_is_killed_goes_on_in_its_study(tmp_path: Path, place: str) -> None:
    chance = random.Random(place.partition(":")[0])
    write(tmp_path, "echo loss=$((X+1)); sleep 0.4; echo loss=$X", {"spec.maxTrialCount": 12})
    for _ in range(3):
        process = start(tmp_path, "--storage", place)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 5)):
            process.stdout.readline()
        time.sleep(chance.random() * 0.3)  # any moment will do
        process.kill()
        process.communicate()
    status, _, err = run(tmp_path, "--storage", place)
    assert status == 0, err
    made = read_run(tmp_path / "runs/sample").history
    assert len(made.trials) == 12
    check_same(trials_in(place, tmp_path), made)


OPENS = """
import sys
from optuna.storages import RDBStorage
from katibflow.storage.location import Storage

print("ready", flush=True)
sys.stdin.readline()
Storage(sys.argv[1]).created(lambda storage: None)
"""


@pytest.mark.long
def test_programs_that_begin_together_share_a_new_database(tmp_path: Path) -> None:
    for attempt in range(3):
        words = [sys.executable, "-c", OPENS, f"sqlite:///{tmp_path}/{attempt}.db"]
        programs = [
            subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()
        for program in programs:
            _, err = program.communicate(timeout=60)
            assert program.returncode == 0, err


def test_a_database_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    with postgres() as server:
        script = f"echo loss=$X; {waits_for(tmp_path / '$KATIB_TRIAL_NAME')}"
        write(tmp_path, script, {"spec.parallelTrialCount": 1, "spec.maxTrialCount": 3})
        process = start(tmp_path, "--storage", server.url)
        assert process.stdout is not None and process.stderr is not None
        until(lambda: process.poll() is not None or len(running(server.url, tmp_path)) == 1)
        assert process.poll() is None, process.communicate()
        server.stop()
        end_next_trial(tmp_path, 0)
        told = process.stderr.readline()
        assert "cannot be written" in told and "the run goes on" in told
        # The run has gone on meanwhile.
        assert "trial 1 started" in next(line for line in process.stdout if "trial 1" in line)
        server.start()
        assert "up to date again" in process.stderr.readline()
        end_next_trial(tmp_path, 1)
        end_next_trial(tmp_path, 2)
        status, out, err = finish(process)
        assert (status, err) == (0, "")
        check_same(trials_in(server.url, tmp_path), read_run(tmp_path / "runs/sample").history)
        check_no_password(tmp_path, told, out, err)


def running(place: str, folder: Path) -> list[FrozenTrial]:
    try:
        return [trial for trial in trials_in(place, folder) if trial.state is OptunaState.RUNNING]
    except (InputError, KeyError):
        return []


def end_next_trial(folder: Path, number: int) -> None:
    (record,) = until(lambda: list(folder.glob(f"runs/sample/trials/*{number}/record.json")))
    name = json.loads(record.read_text())["job"]
    (folder / name).touch()


def check_no_password(folder: Path, *texts: str) -> None:
    for text in texts:
        assert PASSWORD not in text and QUOTED not in text and "s3cr3t" not in text
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path


@pytest.mark.long
def test_a_database_that_stays_away_is_told_at_the_end_and_healed_by_the_same_command(
    tmp_path: Path,
) -> None:
    with postgres() as server:
        script = f"{waits_for(tmp_path / 'go')}; echo loss=$X"
        write(tmp_path, script)
        process = start(tmp_path, "--storage", server.url)
        until(lambda: process.poll() is not None or len(running(server.url, tmp_path)) == 3)
        assert process.poll() is None, process.communicate()
        server.stop()
        (tmp_path / "go").touch()
        status, out, err = finish(process)
        assert status == 0
        assert "best trial" in out
        *_, last = err.splitlines()
        assert "the study is not up to date" in last and "started again" in last
        assert len(err.splitlines()) <= 2
        check_no_password(tmp_path, out, err)
        server.start()
        assert run(tmp_path, "--storage", server.url)[0] == 0
        check_same(trials_in(server.url, tmp_path), read_run(tmp_path / "runs/sample").history)


@contextmanager
def study(folder: Path, directions: Sequence[str] = ("minimize",)) -> Iterator[optuna.Study]:
    """A study that others made."""
    storage = Storage(f"sqlite:///{folder}/studies.db").created(lambda storage: storage)
    with quiet_optuna():
        yield optuna.create_study(storage=storage, study_name="sample", directions=directions)
    close(storage)


def test_a_run_from_python_is_copied_into_a_storage_too(here: Path) -> None:
    made = Experiment.from_yaml("experiment.yaml").run(storage="journal.log", progress=False)
    check_same(trials_in("journal.log", here), made.history)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with the Experiment."""
    write(tmp_path, ENDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*words: str) -> str:
    """The error of a run that was not started."""
    done = CliRunner().invoke(app, ["run", "experiment.yaml", *words])
    assert isinstance(done.exception, InputError), done.output
    assert not Path("runs").exists()
    return str(done.exception)


def test_a_study_of_this_experiment_is_taken_and_one_of_another_is_refused(here: Path) -> None:
    made = check_document(document(ENDS), "experiment.yaml")
    with study(here) as empty:
        copy_in(empty._storage, made).update_trial(
            History(made, "1", 1), Trial(0, RUNNING, {"x": "3"})
        )
    for changes, words in [
        ({"spec.objective.type": "maximize"}, "found directions minimize; allowed: maximize"),
        (
            {"spec.parameters.0.feasibleSpace.max": "98"},
            'spec.parameters[0].feasibleSpace: found {"min":"0","max":"98"',
        ),
        (
            {"spec.objective.objectiveMetricName": "error"},
            "spec.objective.objectiveMetricName: found error; allowed: loss",
        ),
    ]:
        write(here, ENDS, changes)
        error = refusal("--storage", SQLITE)
        assert error.startswith(f"--storage {SQLITE}, study sample: ")
        assert words in error and "another --name" in error and "\n" not in error
    (found,) = trials_in(SQLITE, here)
    assert found.params == {"x": 3}


def test_a_study_with_trials_of_others_is_refused(here: Path) -> None:
    with study(here) as made:
        made.tell(made.ask(), 1.0)
    assert "found 1 trials that are not katibflow's" in refusal("--storage", SQLITE)


def test_a_study_with_two_directions_is_refused(here: Path) -> None:
    with study(here, ("minimize", "maximize")):
        pass
    words = "found directions minimize, maximize; allowed: minimize; or another --name"
    assert words in refusal("--storage", SQLITE)


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("postgresql://u:s3cr3t@127.0.0.1:1/x", "connection failed"),
        ("mysql+nodriver://u:s3cr3t@h/x", "mysql.nodriver"),
        ("nosuch://u:s3cr3t@h/x?sslpassword=s3cr3t", "nosuch"),
        ("postgresql+pg8000://u:s3cr3t@h/x", "needs the package 'pg8000': pip install pg8000"),
        ("sqlite:///no/such/folder.db", "unable to open database file"),
        ("sqlite://", "found a database in memory"),
        ("no/such/folder.log", "No such file"),
        (".", "Is a directory"),
        ("experiment.yaml", "no journal of Optuna's"),
        ("://u:s3cr3t@h", "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_error(here: Path, storage: str, words: str) -> None:
    error = refusal("--storage", storage)
    assert error.startswith("--storage ") and words in error and "\n" not in error
    check_no_password(here, error)


def test_a_wrong_password_is_not_shown_even_when_debugging(
    tmp_path: Path, server: Postgres
) -> None:
    write(tmp_path, ENDS)
    url = server.url.replace(QUOTED, f"wrong{QUOTED}")
    status, _, err = run(tmp_path, "--storage", url)
    assert status == 2 and "password authentication failed" in err
    traced = warm.run("--debug", "run", "experiment.yaml", "--storage", url, cwd=tmp_path)
    assert "Traceback" in traced.stderr
    check_no_password(tmp_path, err, traced.stderr)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("journal.log", "journal.log"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("postgresql://me:pw@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:pw:/@b@h:5432/d", "postgresql://me:***@h:5432/d"),
        ("mysql://:pw@h/d?ssl_passphrase=pq&x=1", "mysql://:***@h/d?ssl_passphrase=***&x=1"),
        ("postgresql://h/d?user=me&password=pw", "postgresql://h/d?user=me&password=***"),
    ],
)
def test_a_password_is_masked(text: str, shown: str) -> None:
    assert str(Storage(text)) == shown
    assert shown in repr(Storage(text))
    assert Storage(text).why(ValueError(f"no {text}")) == f"no {shown}"


# What follows is about the sync itself, with storages in memory that fail on demand.


class Failing(InMemoryStorage):
    """A storage that raises, or waits, while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = threading.Event()
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.calls += 1
        self.gate.wait()
        made = super().create_new_trial(study_id, template_trial)
        if self.broken.is_set():  # the answer is lost, and not what was written
            raise OSError("gone")
        return made


EMPTY = history(experiment("random"))
ASSIGNED = {"lr": "0.01", "layers": "3", "dropout": "0.1", "batch": "32", "act": "relu"}


def begun(number: int) -> Trial:
    return Trial(number, TrialState.RUNNING, ASSIGNED, job=f"sample-{EMPTY.run}-{number}")


def over(trial: Trial, state: TrialState = TrialState.COMPLETE, value: float = 0.5) -> Trial:
    return replace(
        trial,
        state=state,
        observations={"loss": Observation(value, value, value)},
        intermediate=(Point(0, 1.0), Point(1, value)),
        reason="Why",
        message="because",
    )


def copy_in(storage: BaseStorage, of: Checked = EMPTY.experiment) -> StudyCopy:
    return StudyCopy(storage, "--storage memory", of)


def in_memory(storage: BaseStorage) -> list[FrozenTrial]:
    with quiet_optuna():
        return optuna.load_study(study_name="sample", storage=storage).trials


@pytest.mark.parametrize("state", [each for each in TrialState if each.is_finished])
@pytest.mark.parametrize("value", [0.5, math.nan])
def test_a_trial_ends_in_the_study_as_in_the_history(state: TrialState, value: float) -> None:
    storage = InMemoryStorage()
    copy = copy_in(storage)
    copy.update_trial(EMPTY, begun(3))
    copy.update_trial(EMPTY, replace(begun(3), intermediate=(Point(0, 1.5), Point(1, math.inf))))
    ended = over(begun(3), state, value)
    copy.update_trial(EMPTY, ended)
    check_end(storage, ended)
    # Another StudySync finds it, and changes nothing any more.
    copy_in(storage).update_trial(EMPTY, replace(ended, reason="Other"))
    check_end(storage, ended)


def check_end(storage: BaseStorage, ended: Trial) -> None:
    (found,) = in_memory(storage)
    wanted = study_of(EMPTY.with_trials([ended])).trials[ended.number]
    assert plain(found) == plain(wanted)


def test_trials_without_a_job_are_known_by_their_number() -> None:
    storage = InMemoryStorage()
    for _ in range(2):
        copy = copy_in(storage)
        for number in (0, 5):
            copy.update_trial(EMPTY, replace(over(begun(number)), job=None))
    assert [trial.user_attrs["trial"] for trial in in_memory(storage)] == [0, 5]


def test_a_value_that_is_no_choice_of_the_study_is_left_out() -> None:
    storage = InMemoryStorage()
    copy = copy_in(storage)
    copy.update_trial(EMPTY, begun(0))
    copy.update_trial(EMPTY, replace(begun(1), assignments={**ASSIGNED, "act": "gelu"}))
    first, second = in_memory(storage)
    assert first.params.keys() == set(ASSIGNED)
    assert second.params.keys() == set(ASSIGNED) - {"act"}


def study_sync(storage: BaseStorage, told: list[str], patience: float = 20.0) -> StudySync:
    return StudySync(copy_in(storage), Storage("memory"), told.append, patience)


def test_only_the_objective_s_reports_are_intermediate_values() -> None:
    storage, told = InMemoryStorage(), list[str]()
    with study_sync(storage, told) as watch:
        watch.follow(EMPTY)
        watch(TrialStarted(begun(0), resumed=False))
        watch(MetricReported(0, "loss", Point(0, 3.0)))
        watch(MetricReported(0, "accuracy", Point(0, 0.3)))
        watch(MetricReported(0, "loss", Point(1, 2.0)))
    (found,) = in_memory(storage)
    assert found.intermediate_values == {0: 3.0, 1: 2.0}
    assert found.state is OptunaState.RUNNING
    assert told == []


def test_an_answer_that_is_lost_makes_no_duplicate_and_is_told_once() -> None:
    storage, told = Failing(), list[str]()
    back = threading.Event()

    def warn(text: str) -> None:
        told.append(text)
        if "cannot be written" in text:
            storage.broken.clear()
        else:
            back.set()

    with StudySync(copy_in(storage), Storage("memory"), warn) as watch:
        watch.follow(EMPTY)
        storage.broken.set()
        for number in range(3):
            watch(TrialStarted(begun(number), resumed=False))
        assert back.wait(120)
        watch(TrialEnded(over(begun(0)), {}))
    found = in_memory(storage)
    assert [trial.user_attrs["trial"] for trial in found] == [0, 1, 2]
    assert found[0].state is OptunaState.COMPLETE
    assert told == [
        "--storage memory: cannot be written: gone; the run goes on, and this is tried again",
        "--storage memory: is up to date again",
    ]


def test_a_storage_that_hangs_holds_up_neither_the_run_nor_its_end() -> None:
    storage, told = Failing(), list[str]()
    storage.gate.clear()
    with study_sync(storage, told, patience=0.2) as watch:
        watch.follow(EMPTY)
        for number in range(100):
            watch(TrialStarted(begun(number), resumed=False))
        watch(TrialEnded(over(begun(0)), {}))
    assert storage.calls == 1
    (text,) = told
    assert "the study is not up to date: this took more than 0.2 s" in text
    storage.gate.set()
