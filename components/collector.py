"""The component `collector`: adds a round's finished trials to the study."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import Artifact, Input, Output

__all__ = ["collector"]


def collector(
    before: Input[Artifact],
    ended: List[str],  # noqa: UP006
    study: Output[Artifact],
) -> None:
    """Adds this round's finished trials, with their metrics, to the study."""
    from katibflow import steps

    steps.collector(before.path, ended, study)
