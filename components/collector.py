"""Reads the metrics of a round's trials: the next study."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp import dsl

__all__ = ["collector"]


def collector(
    before: dsl.Input[dsl.Artifact],
    outcomes: List[str],  # noqa: UP006
    logs: dsl.Input[List[dsl.Artifact]],  # noqa: UP006
    study: dsl.Output[dsl.Artifact],
) -> None:
    """Reads the metrics of this round's trials: the next study."""
    import sys

    sys.path.insert(0, before.path + "/library.zip")
    from katibflow import steps

    by_trial = {int(log.metadata["trial"]): log.path for log in logs}
    study.metadata = steps.collector(before.path, outcomes, by_trial, study.path)
