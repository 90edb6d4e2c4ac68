"""What a step printed, in logs that were recorded on a real Kubeflow Pipelines 2.17."""

from __future__ import annotations

import pytest

from katibflow.client.step_output import StepOutput, own_lines
from tests.paths import RECORDED


def log(name: str) -> list[str]:
    return (RECORDED / "kfp" / f"step-{name}.log").read_text(encoding="utf-8").splitlines()


def test_a_step_s_error_is_all_that_is_left() -> None:
    assert list(own_lines(log("wrong-parameters"))) == [
        'katibflow: the run\'s parameters: metadata.name: found "Bad Name"; allowed: at most 40 '
        "of a-z, 0-9 and -, first a letter, last no -",
        'the run\'s parameters: spec.maxTrialCount: found "x"; allowed: a whole number',
    ]


def test_a_trial_s_lines_stand_without_the_launcher_s() -> None:
    lines = list(own_lines(log("launcher")))
    assert lines[0].startswith("katibflow: pod kcfail-5e4720c2-0-wt9z8, container main: Error")
    assert lines[1] == "working 0.5931628060321871"
    assert lines[-1].startswith("CUDA error: out of memory")
    assert len(lines) == 7


def test_a_step_whose_packages_cannot_be_installed_says_so() -> None:
    assert list(own_lines(log("without-packages"))) == [
        "ERROR: Could not find a version that satisfies the requirement Jinja2==3.1.6 (from "
        "versions: none)",
        "ERROR: No matching distribution found for Jinja2==3.1.6",
    ]


def test_a_traceback_is_the_step_s_own() -> None:
    lines = [line for line in own_lines(log("traceback")) if line]
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("HTTP response body: ")


def test_lines_like_the_engine_s_are_kept_while_the_step_prints() -> None:
    klog = "I1129 00:29:03.779509      16 trainer.go:139] epoch 1"
    recorded = log("launcher")
    place = recorded.index("working 0.5931628060321871")
    assert klog in list(own_lines([*recorded[:place], klog, *recorded[place:]]))


@pytest.mark.parametrize("lines", [[], ["plain"], ["{", "plain"]])
def test_a_log_without_the_engine_s_lines_is_kept(lines: list[str]) -> None:
    assert list(own_lines(lines)) == lines


def test_the_launcher_s_own_error_is_known() -> None:
    output = StepOutput()
    for line in log("wrong-parameters"):
        output.is_own(line)
    assert output.launcher_error == "failed to execute component: exit status 1"
