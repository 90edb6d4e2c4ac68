from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import HistoryError
from katibflow.experiment.types import ObjectiveType
from katibflow.study.history import (
    FORMAT,
    VERSION,
    History,
    Observation,
    Point,
    Trial,
    TrialState,
    dump_history,
    load_history,
    readable_history,
    time_text,
    trial_from_data,
    trial_to_data,
)
from katibflow.study.objectives import objective_value
from tests.paths import GOLDEN
from tests.samples import DOCUMENT, experiment

# A high surrogate before a low one is the same as one character in JSON, so only low ones here:
# they are what Python makes of bytes in a log that are no UTF-8.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(["\udc80", "\udcff", "\u2028", "\x85"])
)
NUMBERS = st.floats() | st.integers(-(2**70), 2**70).map(float)
COUNTS = st.integers(0, 2**40)
OBSERVATIONS = st.builds(Observation, NUMBERS, NUMBERS, NUMBERS)
POINTS = st.builds(Point, COUNTS, NUMBERS, st.none() | TEXT, st.none() | COUNTS)
ATTRIBUTES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
TIMES = st.none() | st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()
).map(time_text)
TRIALS = st.builds(
    Trial,
    number=st.integers(0, 50),
    state=st.sampled_from(TrialState),
    assignments=st.dictionaries(TEXT, TEXT, max_size=3),
    observations=st.dictionaries(TEXT, OBSERVATIONS, max_size=2),
    intermediate=st.lists(POINTS, max_size=3).map(tuple),
    queued=TIMES,
    start=TIMES,
    end=TIMES,
    job=st.none() | TEXT.filter(bool),
    reason=TEXT,
    message=TEXT,
    attributes=st.dictionaries(TEXT, ATTRIBUTES, max_size=2),
)
HISTORIES = st.builds(
    lambda trials, run, seed, rounds, most: History(
        experiment(), run, seed, rounds=rounds, most_rounds=most
    ).with_trials(trials),
    st.lists(TRIALS, max_size=4),
    TEXT,
    st.integers(0, 2**32 - 1),
    st.integers(0, 90),
    st.none() | st.integers(0, 90),
)


def comparable(value: object) -> str:
    """NaN is not equal to itself; its text is."""
    return repr(value)


@pytest.mark.slow
@given(HISTORIES)
def test_a_history_reads_back_as_it_was_written(history: History) -> None:
    text = dump_history(history)
    text.encode("utf-8")
    assert comparable(load_history(text)) == comparable(history)
    assert len(text.split("\n")) == len(history.trials) + 2
    assert dump_history(load_history(text)) == text


@given(TRIALS)
def test_a_trial_reads_back_from_its_data(trial: Trial) -> None:
    data = json.loads(json.dumps(trial_to_data(trial), allow_nan=False))
    assert comparable(trial_from_data(data)) == comparable(trial)


def test_the_lines_are_as_the_format_says() -> None:
    trial = Trial(
        number=0,
        state=TrialState.COMPLETE,
        assignments={"lr": "0.010"},
        observations={"loss": Observation(math.nan, 0.5, math.inf)},
        intermediate=(Point(0, -math.inf, "2026-01-01T00:00:00Z", 1), Point(1, 0.5)),
        reason="TrialSucceeded",
        message="größe",
    )
    history = History(experiment(), "abc", 7, (trial,), 2)
    assert json.loads(dump_history(replace(history, most_rounds=9)).split("\n")[0]) == {
        **json.loads(dump_history(history).split("\n")[0]),
        "most_rounds": 9,
    }
    header, line, end = dump_history(history).split("\n")
    assert end == ""
    assert json.loads(header) == {
        "format": FORMAT,
        "version": VERSION,
        "experiment": DOCUMENT,
        "run": "abc",
        "seed": 7,
        "rounds": 2,
    }
    assert line == (
        '{"number":0,"state":"COMPLETE","assignments":{"lr":"0.010"},"observations":{"loss":'
        '{"latest":"NaN","min":0.5,"max":"Infinity"}},"intermediate":[{"step":0,"value":'
        '"-Infinity","time":"2026-01-01T00:00:00Z","epoch":1},{"step":1,"value":0.5}],'
        '"reason":"TrialSucceeded","message":"größe"}'
    )


def test_a_history_of_version_1_loads_for_ever() -> None:
    """The file is never written again: histories of users look like it."""
    history = load_history((GOLDEN / "history-v1.jsonl").read_text("utf-8"), "golden")
    assert history.experiment.name == "mnist-pytorch"
    assert history.experiment.spec.objective.type is ObjectiveType.MINIMIZE
    assert [each.type.value for each in history.experiment.spec.parameters] == [
        "double",
        "discrete",
        "categorical",
        "int",
    ]
    assert (history.run, history.seed, history.rounds) == ("0a1b2c3d", 4294967295, 2)
    assert [(trial.number, trial.state.value, trial.reason) for trial in history.trials] == [
        (0, "COMPLETE", "TrialSucceeded"),
        (1, "PRUNED", "TrialEarlyStopped"),
        (2, "FAIL", "ReplicaFailed"),
        (3, "FAIL", "MetricsUnavailable"),
        (4, "COMPLETE", "ObjectiveNotFinite"),
        (5, "KILLED", "TrialKilled"),
        (7, "RUNNING", ""),
    ]
    first, pruned, failed, _, not_finite, _, running = history.trials
    assert first == Trial(
        number=0,
        state=TrialState.COMPLETE,
        assignments={"lr": "0.010", "batch": "16", "optimizer": "sgd", "layers": "2"},
        observations={
            "loss": Observation(0.25, 0.125, 0.5),
            "accuracy": Observation(0.875, 0.5, 0.875),
        },
        intermediate=(
            Point(0, 0.5, "2026-01-02T03:04:05.123456789Z", 1),
            Point(1, 0.125, "2026-01-02T03:04:06Z", 2),
            Point(2, 0.25),
        ),
        start="2026-01-02T03:04:00.000+00:00",
        end="2026-01-02T03:04:07.250+00:00",
        job="mnist-pytorch-0a1b2c3d-0",
        reason="TrialSucceeded",
        attributes={"sampler": {"generation": 1, "vector": [0.5, None]}},
    )
    assert pruned.intermediate[-1] == Point(1, 0.75)
    assert failed.message.startswith('replica "worker-0" ended with exit code 137\n')
    assert objective_value(history.experiment.spec.objective, not_finite) != 0.0
    assert math.isnan(not_finite.observations["loss"].min)
    assert not_finite.observations["loss"].latest == -math.inf
    assert not_finite.intermediate[0].value == math.inf
    assert running.end is None
    assert {trial.queued for trial in history.trials} == {None}
    assert history.next_number == 8
    assert load_history(dump_history(history)).trials[0] == first


def at(second: float) -> str:
    return time_text(datetime(2026, 1, 2, 3, 4, tzinfo=UTC) + timedelta(seconds=second))


def test_a_trial_waits_until_its_job_is_created_and_lasts_until_its_end() -> None:
    queued = Trial(0, TrialState.RUNNING, {}, queued=at(0.25))
    assert (queued.waited, queued.duration) == (None, None)
    ended = replace(queued.started(at(45)), end=at(51.5))
    assert (ended.start, ended.waited, ended.duration) == (at(45), 44.75, 6.5)


def test_a_job_is_not_created_before_its_trial() -> None:
    queued = Trial(0, TrialState.RUNNING, {}, queued=at(0.25))
    assert queued.started(at(0)).start == at(0.25)  # Kubernetes tells whole seconds
    assert queued.started(at(0)).waited == 0


def test_a_job_that_was_created_anew_has_its_own_start() -> None:
    trial = Trial(0, TrialState.RUNNING, {}, queued=at(0), start=at(1))
    assert trial.started(at(60)).start == at(60)


@pytest.mark.parametrize("start", [None, "", "yesterday"])
def test_a_duration_without_a_start_is_not_known(start: str | None) -> None:
    trial = Trial(0, TrialState.FAIL, {}, queued=at(0), start=start, end=at(1))
    assert (trial.waited, trial.duration) == (None, None)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime.fromisoformat("2026-01-02T05:04:00.0004+02:00")
    assert time_text(moment) == at(0) == "2026-01-02T03:04:00.000+00:00"


def lines(*trials: dict[str, Any] | str, **header: Any) -> str:
    first = {
        "format": FORMAT,
        "version": 1,
        "experiment": DOCUMENT,
        "run": "r",
        "seed": 1,
    } | header
    kept = {key: value for key, value in first.items() if value is not ...}
    texts = [each if isinstance(each, str) else json.dumps(each) for each in (kept, *trials)]
    return "\n".join(texts) + "\n"


MINIMAL: dict[str, Any] = {"number": 0, "state": "RUNNING", "assignments": {}}


def test_the_least_that_a_history_can_be() -> None:
    assert load_history(lines()) == History(experiment(), "r", 1)
    assert load_history(lines(MINIMAL)).trials == (Trial(0, TrialState.RUNNING, {}),)
    assert load_history("\n\n" + lines("", MINIMAL, "  ")).next_number == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: no history; allowed: a header of format 'katibflow-history'"),
        (json.dumps(MINIMAL), "line 1: no history"),
        ("apiVersion: v1", "line 1: not JSON"),
        ("[]", "line 1: found '[]', allowed: an object"),
        (lines(version=2), "line 1: found version 2; allowed: 1"),
        (lines(version="1"), "line 1: found version '1'; allowed: 1"),
        (lines(format="other"), "line 1: no history"),
        (lines(run=...), "line 1: not a header of version 1: 'run'"),
        (lines(run=5), "line 1: not a header of version 1: 5 is not a string"),
        (lines(seed="1"), "line 1: not a header of version 1: '1' is not a whole number"),
        (lines(seed=-1), "line 1: not a header of version 1"),
        (lines(seed=2**32), "line 1: not a header of version 1: the seed 4294967296 is not below"),
        (lines(rounds=1.5), "line 1: not a header of version 1"),
        (lines(most_rounds="9"), "line 1: not a header of version 1"),
        (lines(experiment={"kind": "x"}), "line 1: not a header of version 1"),
        (lines(MINIMAL, '{"number": 1, "sta'), "line 3: not JSON"),
        (lines(MINIMAL, "5"), "line 3: found '5', allowed: an object"),
        (lines(MINIMAL, MINIMAL), "line 3: trial 0 is there already"),
        (lines(MINIMAL, "[" * 100_000), "line 3: not JSON"),
        (lines(MINIMAL, '{"number": ' + "9" * 5000 + "}"), "line 3: not JSON"),
        (lines(MINIMAL | {"number": -1}), "line 2: not a trial of format version 1"),
        (lines(MINIMAL | {"number": 1.5}), "line 2: not a trial"),
        (lines(MINIMAL | {"number": True}), "line 2: not a trial"),
        (lines(MINIMAL | {"number": "0"}), "line 2: not a trial"),
        (lines(MINIMAL | {"state": "DONE"}), "line 2: not a trial"),
        (lines({"number": 0, "state": "FAIL"}), "line 2: not a trial"),
        (lines(MINIMAL | {"assignments": {"lr": 0.5}}), "line 2: not a trial"),
        (lines(MINIMAL | {"assignments": ["lr"]}), "line 2: not a trial"),
        (lines(MINIMAL | {"observations": {"loss": {"min": 1}}}), "line 2: not a trial"),
        (lines(MINIMAL | {"observations": [1]}), "line 2: not a trial"),
        (lines(MINIMAL | {"intermediate": [{"step": 0, "value": "x"}]}), "line 2: not a trial"),
        (lines(MINIMAL | {"intermediate": [{"step": 0, "value": 10**400}]}), "line 2: not a trial"),
        (lines(MINIMAL | {"intermediate": [{"step": 0, "value": True}]}), "line 2: not a trial"),
        (lines(MINIMAL | {"intermediate": [{"value": 1}]}), "line 2: not a trial"),
        (lines(MINIMAL | {"intermediate": 5}), "line 2: not a trial"),
        (lines(MINIMAL | {"message": 5}), "line 2: not a trial"),
        (lines(MINIMAL | {"end": 5}), "line 2: not a trial"),
        (lines(MINIMAL | {"attributes": 5}), "line 2: not a trial"),
    ],
)
def test_what_is_no_history_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(HistoryError) as caught:
        load_history(text, "study.jsonl")
    assert str(caught.value).startswith(f"study.jsonl, {says}")


def test_a_newer_history_is_one_error_that_says_what_was_found_and_what_is_read() -> None:
    """Nothing else of it is read: a newer format may mean anything by the same words."""
    newer = lines({"number": "later"}, "no JSON", version=2, experiment="later")
    for read in (load_history, readable_history):
        with pytest.raises(HistoryError) as caught:
            read(newer, "study.jsonl")
        assert str(caught.value) == (
            "study.jsonl, line 1: found version 2; allowed: 1; it was written by a newer katibflow"
        )
    with pytest.raises(HistoryError) as unknown:
        load_history(lines(version="1"))
    assert str(unknown.value) == "history, line 1: found version '1'; allowed: 1"


def test_a_history_of_each_version_so_far_is_read_with_what_later_ones_added() -> None:
    text = (GOLDEN / "history-v1.jsonl").read_text("utf-8")
    assert {path.name for path in GOLDEN.glob("history-v*")} == {"history-v1.jsonl"}
    added = "\n".join(
        json.dumps(json.loads(line) | {"later": {"key": 1}}) for line in text.rstrip().split("\n")
    )
    history, faults = readable_history(added)
    assert (dump_history(history), faults) == (dump_history(load_history(text)), ())


BROKEN: dict[str, Any] = {
    "torn": '{"number": 1, "sta',
    "no object": "5",
    "no trial": {**MINIMAL, "number": 3, "state": "DONE"},
    "twice": MINIMAL,  # it stands behind the first
}


@pytest.mark.parametrize(
    ("kind", "place"),
    [(kind, place) for kind in BROKEN for place in range(3) if (kind, place) != ("twice", 0)],
)
def test_a_line_that_cannot_be_read_is_told_and_hides_no_other(kind: str, place: int) -> None:
    trials = [{**MINIMAL, "number": number} for number in (0, 7)]
    line = BROKEN[kind]
    mixed: list[Any] = [*trials[:place], line, *trials[place:]]
    history, faults = readable_history(lines(*mixed), "study.jsonl")
    assert [trial.number for trial in history.trials] == [0, 7]
    (fault,) = faults
    told = int(fault.removeprefix("study.jsonl, line ").split(":")[0])
    assert json.dumps(mixed[told - 2]) == json.dumps(line)
    with pytest.raises(HistoryError) as caught:
        load_history(lines(*mixed), "study.jsonl")
    assert str(caught.value) == fault


def test_all_lines_that_cannot_be_read_are_told_at_once() -> None:
    with pytest.raises(HistoryError) as caught:
        load_history(lines("5", MINIMAL, "[", ""), "f")
    first, second = str(caught.value).splitlines()
    assert first == "f, line 2: found '5', allowed: an object"
    assert second.startswith("f, line 4: not JSON")


@pytest.mark.slow
@given(st.data())
def test_a_torn_history_is_refused_unless_torn_between_lines(data: st.DataObject) -> None:
    """A file cut short never reads as another history: at most its last trials are not there."""
    history = data.draw(HISTORIES)
    text = dump_history(history)
    cut = text[: data.draw(st.integers(0, len(text)))]
    try:
        read = load_history(cut)
    except HistoryError:
        return
    assert comparable(read.trials) == comparable(history.trials[: len(read.trials)])
    assert cut.rstrip("\n") == "\n".join(text.split("\n")[: len(read.trials) + 1])


def test_trials_are_added_replaced_and_sorted() -> None:
    three, one = Trial(3, TrialState.RUNNING, {}), Trial(1, TrialState.RUNNING, {})
    history = History(experiment(), "r", 1)
    assert history.next_number == 0
    history = history.with_trials([three, one])
    assert (history.trials, history.next_number) == ((one, three), 4)
    done = replace(one, state=TrialState.COMPLETE)
    assert history.with_trials([done]).trials == (done, three)
    assert history.trials == (one, three)


@pytest.mark.parametrize("state", TrialState)
def test_only_trials_that_ended_well_or_early_have_an_objective(state: TrialState) -> None:
    trial = Trial(0, state, {}, {"loss": Observation(0.3, 0.1, 0.9)})
    expected = 0.1 if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    assert objective_value(experiment().spec.objective, trial) == expected
    assert objective_value(experiment().spec.objective, replace(trial, observations={})) is None
    assert state.is_finished == (state is not TrialState.RUNNING)


def line(**changes: object) -> str:
    return json.dumps({"number": 0, "state": "COMPLETE", "assignments": {}} | changes)


@pytest.mark.parametrize(
    "bad",
    [
        line(number=10**18),
        line(number=20_000),  # far behind the others: each number between them would cost work
        line(start="0001-01-01T00:00:00+23:59"),
        line(end="soon"),
        line(attributes={"a": 1}).replace("1", "9" * 5000),
        line(message="x").replace('"x"', "[" * 100_000),
        line(message="\udcff").replace("\\udcff", "\udcff"),
    ],
)
def test_a_line_that_nobody_could_use_hides_no_other(bad: str) -> None:
    header = dump_history(History(experiment(), "0a1b2c3d", 7))
    history, faults = readable_history(f"{header}{line(number=1)}\n{bad}\n{line(number=2)}\n")
    assert [trial.number for trial in history.trials] == [1, 2]
    assert len(faults) == 1
    assert faults[0].startswith("history, line 3: ")
    assert len(faults[0]) < 300
