"""The component `suggestion`: asks the algorithm for the next round's trials."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp.dsl import Artifact, Input

__all__ = ["suggestion"]


def suggestion(study: Input[Artifact]) -> List[str]:  # noqa: UP006
    """Asks for the next round's trials, or for none if the experiment is over."""
    from katibflow import steps

    return steps.suggestion(study.path)
