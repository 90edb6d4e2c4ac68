"""Reads the metrics of a round's trials: the next study."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import Artifact, Input, Output

__all__ = ["collector"]


def collector(
    before: Input[Artifact],
    ended: List[str],  # noqa: UP006
    study: Output[Artifact],
) -> None:
    """Reads the metrics of this round's trials: the next study."""
    from katibflow import steps

    steps.collector(before.path, ended, study)
