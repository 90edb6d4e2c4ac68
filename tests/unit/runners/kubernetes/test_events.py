"""Tests the reading of Kubernetes's warnings, and the findings that they explain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from katibflow.runners.kubernetes.causes import Prospect, Reason
from katibflow.runners.kubernetes.events import (
    Access,
    Known,
    WarningEvent,
    explained,
    read_warning,
    status_words,
)
from katibflow.runners.kubernetes.pods import Finding

CREATING = Finding("p", "main", "ContainerCreating", "", Prospect.SLOW, unexplained=True)
MISSING = Finding("", "", Reason.PODS_MISSING, "1 of 1 is not there", Prospect.SLOW, True)
KILLED = Finding("p", "main", "Error", "exit code 137", Prospect.CONTROLLER, True, 137)
FAILED = replace(KILLED, message="exit code 1", exit_code=1)


def known(*warnings: WarningEvent) -> Known:
    so_far = Known(Access.READ)
    for number, each in enumerate(warnings):
        so_far = so_far.with_warning(str(number), each)
    return so_far


def of_pod(reason: str, message: str = "said", container: str = "", name: str = "p") -> Any:
    return WarningEvent("Pod", name, reason, message, container)


def words(finding: Finding, *warnings: WarningEvent) -> tuple[str, str]:
    told = explained(finding, known(*warnings), "ns", "job")
    return told.reason, told.message


@pytest.mark.parametrize(
    ("path", "container"),
    [
        ("spec.containers{main}", "main"),
        ("spec.initContainers{prepare}", "prepare"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_warning_names_its_container(path: str | None, container: str) -> None:
    about = {"kind": "Pod", "name": "p", "fieldPath": path}
    item = {"involvedObject": about, "reason": "Unhealthy", "message": "a\nb\n", "count": 3}
    assert read_warning(item) == WarningEvent("Pod", "p", "Unhealthy", "a b", container, 3)


@pytest.mark.parametrize(
    ("item", "count"), [({}, 1), ({"count": None}, 1), ({"series": {"count": 7}}, 7)]
)
def test_a_warning_of_any_sender_can_be_read(item: dict[str, Any], count: int) -> None:
    assert read_warning(item) == WarningEvent("", "", "", "", "", count)


def test_the_newest_warning_explains_what_does_not_begin() -> None:
    first, second = of_pod("FailedMount"), of_pod("FailedCreatePodSandBox", "no address")
    assert words(CREATING, first, second) == ("FailedCreatePodSandBox", "no address")
    again = known(first, second).with_warning("0", replace(first, count=2))
    assert explained(CREATING, again, "ns", "job").reason == "FailedMount"


@pytest.mark.parametrize(
    "other",
    [
        of_pod("BackOff"),
        of_pod("Failed"),
        of_pod("FailedMount", name="another"),
        of_pod("FailedMount", container="beside"),
        of_pod("Unhealthy"),
        WarningEvent("Job", "p", "FailedCreate"),
    ],
    ids=lambda each: each.reason,
)
def test_what_is_about_something_else_explains_nothing(other: WarningEvent) -> None:
    assert words(CREATING, other) == ("ContainerCreating", "")


def test_a_word_that_no_table_has_explains_too() -> None:
    assert words(CREATING, of_pod("SomethingNew", "of a plugin")) == (
        "SomethingNew",
        "of a plugin",
    )


@pytest.mark.parametrize("kind", ["Job", "TrainJob", "JobSet"])
def test_the_job_and_what_was_made_of_it_explain_missing_pods(kind: str) -> None:
    refused = WarningEvent(kind, "job", "FailedCreate", "quota")
    assert words(MISSING, refused, of_pod("FailedMount")) == (
        "FailedCreate",
        "1 of 1 is not there: quota",
    )


def test_only_what_kills_explains_an_end() -> None:
    assert words(KILLED, of_pod("FailedMount"), of_pod("Unhealthy", "no answer", "main")) == (
        "Unhealthy",
        "no answer; exit code 137",
    )
    assert words(KILLED, of_pod("FailedMount")) == ("Error", "exit code 137")
    assert words(FAILED, of_pod("Unhealthy", "no answer")) == (
        "Error",
        "exit code 1; Unhealthy: no answer",
    )


def test_what_is_explained_already_keeps_its_words() -> None:
    own = replace(CREATING, unexplained=False, message="own words")
    assert words(own, of_pod("FailedMount")) == ("ContainerCreating", "own words")
    refused = Known(Access.REFUSED)
    assert explained(own, refused, "ns", "job").message == "own words"


@pytest.mark.parametrize(
    ("finding", "named"), [(CREATING, "p"), (MISSING, "job"), (KILLED, "p"), (FAILED, "")]
)
def test_without_the_right_it_says_what_would_show_the_cause(finding: Finding, named: str) -> None:
    told = explained(finding, Known(Access.REFUSED), "ns", "job")
    assert told.reason == finding.reason
    command = f"kubectl get events -n ns --field-selector involvedObject.name={named};"
    assert (command in told.message) is bool(named)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, "the controller of Job is not running, or has not come to it"),
        ({"startTime": "x"}, ""),
        ({"reason": "ValidationFailed", "message": "a fault"}, "ValidationFailed: a fault"),
        (
            {
                "conditions": [
                    {"reason": "New", "message": "b", "lastTransitionTime": "2026-01-02"},
                    {"reason": "Old", "message": "a", "lastTransitionTime": "2026-01-01"},
                    {"reason": "Mute", "lastTransitionTime": "2026-01-03"},
                ]
            },
            "New: b",
        ),
    ],
)
def test_what_a_controller_wrote_on_its_job(status: dict[str, Any], expected: str) -> None:
    assert status_words("Job", {"status": status}) == expected
