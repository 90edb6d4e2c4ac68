"""Tests verdicts: on recorded trials, and on states that no recording shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.causes import CAUSES, Cause, Prospect, Reason
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import STATE, STOPPED, Identity
from katibflow.runners.kubernetes.pods import Container, Finding, Pod
from katibflow.runners.kubernetes.seen import Seen, primaries
from katibflow.runners.kubernetes.verdict import (
    Adoption,
    Standing,
    Verdict,
    adoption,
    judge,
    judged,
    outcome,
)
from tests.unit.runners.kubernetes.replay import (
    FOLDER,
    Recording,
    course,
    recording,
    verdicts,
)

COURSES: Mapping[str, list[str]] = yaml.safe_load((FOLDER / "courses.yaml").read_text())
NAMES = sorted(COURSES)

NOT_YET: Mapping[str, str] = {}
"""Trials whose course is not yet what it should be, and why."""

OPEN = {"post-start-fails", "pytorchjob-never-admitted", "suspended"}
"""Trials that still went on when their record ends."""

MISTOLD = {
    "native-sidecar-crashes",
    "out-of-memory-in-a-child",
    "trainjob-initializer-held-open",
    "workflow-sidecar",
}
"""Trials that went on, or were not late yet, when katibflow of that time ended them by mistake."""

WITHOUT_CAUSE = {
    "child-killed-and-main-fails",
    "command-missing",
    "crash-loop-within-limit",
    "evicted-without-retry",
    "exit-1-with-2-retries",
    "job-deadline",
    "liveness-fails-without-retry",
    "out-of-memory-with-a-retry",
    "pod-deadline",
    "pod-deleted-without-retry",
    "pod-security",
    "quota-of-no-pods",
    "trainjob-refused",
    "volume-cannot-be-mounted",
}
"""Trials whose cause katibflow of that time did not find, or found in an earlier try."""

TOLD_STATES = {"COMPLETE": JobState.SUCCEEDED, "FAIL": JobState.FAILED}
IDENTITY = Identity("ns", "exp", "run")


def rows(*names: str) -> list[Any]:
    return [
        pytest.param(
            name,
            marks=[pytest.mark.xfail(strict=True, reason=NOT_YET[name])] if name in NOT_YET else [],
        )
        for name in names or NAMES
    ]


def last(record: Recording) -> tuple[float, Verdict, Seen]:
    *_, (at, verdict, seen) = verdicts(record)
    return at, verdict, judged(seen, verdict)


def test_each_record_has_its_row() -> None:
    assert {path.name.removesuffix(".jsonl.gz") for path in FOLDER.glob("*.gz")} == set(NAMES)
    assert set(NOT_YET) <= set(NAMES)


@pytest.mark.parametrize("name", rows())
def test_a_recorded_trial_stands_as_it_should_at_each_moment(name: str) -> None:
    assert course(recording(name)) == COURSES[name]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {*NOT_YET, *MISTOLD, *WITHOUT_CAUSE}]
)
def test_a_recorded_end_is_told_as_it_was(name: str) -> None:
    """What was put on record may say more: what the pods went through when the trial had ended."""
    record = recording(name)
    _, verdict, seen = last(record)
    if name in OPEN:
        assert (verdict.state, verdict.until, record.told) == (None, FOREVER, None)
        return
    assert record.told is not None
    end = outcome(verdict, seen, {}, ())
    assert end.state is TOLD_STATES[record.told["state"]]
    if end.state is JobState.FAILED:
        assert end.reason == record.told["reason"]
        assert record.told["message"].startswith(end.message)


@pytest.mark.parametrize("name", sorted(MISTOLD))
def test_a_live_trial_is_not_over_when_it_was_ended_by_mistake(name: str) -> None:
    record = recording(name)
    ended = [at for at, verdict, _ in verdicts(record) if verdict.state is not None]
    assert record.told is not None and not any(at <= record.events[-1][0] + 30 for at in ended)


def other_words(body: Any) -> Any:
    """The object with another sentence wherever Kubernetes or a controller has one."""
    if isinstance(body, Mapping):
        return {
            key: "said in other words" if key in ("message", "note") else other_words(value)
            for key, value in body.items()
        }
    return [other_words(item) for item in body] if isinstance(body, list) else body


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_changes_what_a_trial_comes_to(name: str) -> None:
    plain, changed = recording(name), recording(name, other_words)
    assert changed.events != plain.events or "suspended" in str(COURSES[name])
    assert course(changed) == course(plain)


@pytest.mark.parametrize("name", NAMES)
def test_the_clock_is_the_caller_s(name: str) -> None:
    record = recording(name)
    later = replace(
        record,
        terms=replace(record.terms, created=1000.0),
        events=tuple((at + 1000.0, kind, body) for at, kind, body in record.events),
    )
    first, second = list(verdicts(record)), list(verdicts(later))
    assert [at for at, _, _ in second] == pytest.approx([at + 1000 for at, _, _ in first])
    assert [each.standing for _, each, _ in second] == [each.standing for _, each, _ in first]


def limited(name: str, seconds: float) -> tuple[float, Verdict]:
    record = recording(name)
    terms = replace(record.terms, limits=replace(record.terms.limits, trial=seconds))
    at, verdict, _ = last(replace(record, terms=terms))
    return round(at, 1), verdict


@pytest.mark.parametrize(
    ("name", "seconds", "end"),
    [
        ("job-succeeds", 3.5, 4.9),
        ("job-in-a-queue", 5.5, 46.8),
        ("pytorchjob-in-a-queue", 5.5, 19.0),
        ("job-preempted", 5.5, 7.2),
        ("job-preempted", 15.0, 44.0),
    ],
)
def test_a_trial_s_limit_counts_from_its_work_on_anew_in_each_attempt(
    name: str, seconds: float, end: float
) -> None:
    at, verdict = limited(name, seconds)
    assert (at, verdict.standing, verdict.state) == (end, Standing.TIMED_OUT, JobState.FAILED)
    text = f"the job ran longer than {seconds:g} s"
    assert (verdict.reason, verdict.message) == (Reason.TIMED_OUT, text)


@pytest.mark.parametrize(
    ("name", "seconds", "standing"),
    [
        ("image-missing", 5.5, Standing.LATE),
        ("init-hangs", 5.5, Standing.LATE),
        ("pytorchjob-never-admitted", 5.5, Standing.SUSPENDED),
        ("job-in-a-queue", 11.0, Standing.ENDED),
        ("job-preempted", 22.5, Standing.ENDED),
    ],
)
def test_what_a_trial_waits_for_does_not_count(
    name: str, seconds: float, standing: Standing
) -> None:
    assert limited(name, seconds)[1].standing is standing


def test_pods_that_a_preemption_took_are_no_news_of_the_next_attempt() -> None:
    told = [each for _, verdict, _ in verdicts(recording("job-preempted")) for each in verdict.news]
    assert Reason.POD_DELETED not in {each.reason for each in told}


def test_the_attempts_of_a_preempted_trial_are_told_apart() -> None:
    record = recording("job-preempted")
    seen = [(verdict.attempt, seen) for _, verdict, seen in verdicts(record)]
    numbers = [attempt.number for attempt, _ in seen]
    assert sorted(set(numbers)) == [0, 1] and numbers == sorted(numbers)
    first = {pod for attempt, each in seen if not attempt.number for pod in each.pods}
    last_attempt, last_seen = seen[-1]
    assert last_seen.cause is None and len(last_attempt.former) == 1
    assert first.isdisjoint(pod.name for pod in primaries(record.terms, last_seen))


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_is_the_end_whatever_was_seen(name: str) -> None:
    record = recording(name)
    for at, _, seen in verdicts(record):
        verdict = judge(record.terms, seen, "enough", at)
        assert (verdict.standing, verdict.state) == (Standing.STOPPED, JobState.STOPPED)
        assert verdict.message == "enough"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"annotations": {STOPPED: "the goal is reached"}}, "the goal is reached"),
        ({"labels": {STATE: "KILLED"}}, "it is on record as KILLED"),
    ],
)
def test_what_another_process_did_to_a_job_stops_it(
    metadata: Mapping[str, Any], message: str
) -> None:
    terms = recording("image-missing").terms
    verdict = judge(terms, Seen({"metadata": metadata}), None, 1.0)
    assert (verdict.standing, verdict.state) == (Standing.STOPPED, JobState.STOPPED)
    assert (verdict.reason, verdict.message) == (Reason.STOPPED, message)


def test_a_job_that_the_watch_does_not_know_yet_is_waited_for() -> None:
    verdict = judge(recording("image-missing").terms, Seen(), None, 1.0)
    assert (verdict.standing, verdict.state, verdict.until) == (Standing.UNSEEN, None, FOREVER)


def test_a_start_limit_that_is_short_counts_for_what_may_heal_too() -> None:
    record = recording("secret-missing")
    terms = replace(record.terms, limits=Limits(start=10.0))
    at, verdict, _ = last(replace(record, terms=terms))
    assert (round(at, 1), verdict.standing) == (10.7, Standing.BROKEN)


def test_what_takes_long_is_told_once_its_time_has_come() -> None:
    told = [
        (round(at, 1), finding.reason)
        for at, verdict, _ in verdicts(recording("volume-cannot-be-mounted"))
        for finding in verdict.news
    ]
    assert told[0] == (30.0, "FailedMount")


@pytest.mark.parametrize("name", ["image-missing", "init-hangs", "secret-missing", "job-deleted"])
def test_what_the_runner_did_to_the_pods_is_no_cause(name: str) -> None:
    record = recording(name)
    _, verdict, seen = last(record)
    plain = outcome(verdict, seen, {}, ())
    for pod in list(seen.pods.values()):
        (main, *_) = pod.containers
        killed = replace(main, state="terminated", reason="Error", exit_code=137)
        gone = replace(pod, phase="Failed", deleting=True, containers=(killed,))
        seen = seen.with_pod(record.terms, gone)
    assert outcome(verdict, seen, {}, ()) == plain


def failed(reason: str = "BackoffLimitExceeded", message: str = "too many failures") -> Verdict:
    return Verdict(Standing.ENDED, JobState.FAILED, reason, message)


def finding(reason: str, prospect: Prospect = Prospect.CONTROLLER) -> Finding:
    return Finding("p", "main", reason, "exit code 137", prospect)


@pytest.mark.parametrize(
    ("verdict", "cause", "reason", "message"),
    [
        (failed(), None, "BackoffLimitExceeded", "too many failures"),
        (
            failed(),
            finding("Error"),
            "BackoffLimitExceeded",
            "too many failures; pod p, container main: Error: exit code 137",
        ),
        (
            failed(),
            finding("OOMKilled"),
            "OOMKilled",
            "too many failures; pod p, container main: OOMKilled: exit code 137",
        ),
        (failed("", ""), finding("Error"), "Error", "pod p, container main: Error: exit code 137"),
        (failed("", ""), None, "JobFailed", ""),
        (
            replace(failed("Error", "said by the verdict"), cause=finding("Error")),
            finding("Error", Prospect.HOPELESS),
            "Error",
            "said by the verdict",
        ),
    ],
)
def test_an_outcome_says_what_the_pods_say_unless_the_verdict_did(
    verdict: Verdict, cause: Finding | None, reason: str, message: str
) -> None:
    end = outcome(verdict, Seen(cause=cause), {"master-0": "there"}, ())
    assert (end.state, end.reason, end.message) == (JobState.FAILED, reason, message)
    assert end.logs == {"master-0": "there"}


def test_what_a_message_says_by_chance_hides_no_cause() -> None:
    cause = finding("OOMKilled")
    end = outcome(failed(message=f"as in: {cause}"), Seen(cause=cause), {}, ())
    assert end.reason == "OOMKilled" and end.message == f"as in: {cause}; {cause}"


def test_the_last_lines_of_a_log_are_cut_in_width() -> None:
    end = outcome(failed(), Seen(), {}, ["a" * 600, "b"])
    assert end.message == ("too many failures; the last lines of its log:\n" + "a" * 500 + "\nb")


def owned(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {**IDENTITY.labels, "katibflow/trial": "3"}, **metadata}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (owned(), Adoption.ADOPTED),
        (owned(annotations={"other": "x"}), Adoption.ADOPTED),
        (owned(annotations={STOPPED: "a first try"}), Adoption.STOPPED),
        (owned(deletionTimestamp="2026-01-01T00:00:00Z"), Adoption.LEAVING),
        (
            owned(deletionTimestamp="2026-01-01T00:00:00Z", annotations={STOPPED: "x"}),
            Adoption.LEAVING,
        ),
        (owned(labels={"katibflow/trial": "3"}), Adoption.FOREIGN),
        ({"metadata": {}}, Adoption.FOREIGN),
    ],
)
def test_a_job_that_is_there_already(found: Mapping[str, Any], expected: Adoption) -> None:
    assert adoption(IDENTITY, 3, found) is expected


def test_a_reason_for_a_stuck_pod_is_one_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = recording("image-missing").terms
    body = {"metadata": {}, "spec": {}}
    waiting = Container("main", state="waiting", reason="NewTrouble", message="no such thing")
    seen = Seen(body).with_pod(terms, Pod("p", containers=(waiting,)))
    assert judge(terms, seen, None, 1.0).standing is Standing.STUCK
    monkeypatch.setitem(CAUSES, "NewTrouble", Cause(Prospect.HOPELESS))  # type: ignore[arg-type]
    verdict = judge(terms, seen, None, 1.0)
    assert (verdict.standing, verdict.reason) == (Standing.BROKEN, "NewTrouble")


def test_a_new_pod_may_be_seen_before_its_job_is_seen_to_run() -> None:
    terms = recording("job-preempted").terms
    held = {"metadata": {}, "spec": {"suspend": True}}
    runs = {"metadata": {}, "spec": {"suspend": False}}
    works = (Container("main", state="running"),)

    def after(seen: Seen, at: float) -> Seen:
        return judged(seen, judge(terms, seen, None, at))

    seen = after(Seen(held), 0.0)
    seen = after(seen.with_pod(terms, Pod("a", "1", containers=works)), 1.0)
    assert seen.attempt.waits and seen.attempt.begun is None
    seen = after(replace(seen, body=runs), 2.0)
    assert (seen.attempt.begun, seen.attempt.number) == (2.0, 0)
    seen = after(replace(seen, body=held), 3.0)
    assert (seen.attempt.begun, seen.attempt.number) == (None, 1)
    seen = after(seen.with_pod(terms, Pod("b", "2", containers=works)), 4.0)
    seen = after(replace(seen, body=runs), 5.0)
    assert (seen.attempt.begun, seen.attempt.number) == (5.0, 1)
    assert [pod.name for pod in primaries(terms, seen)] == ["b"]
