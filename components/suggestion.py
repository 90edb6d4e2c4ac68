"""Asks for a round's trials."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp import dsl

__all__ = ["suggestion"]


def suggestion(
    library: dsl.Input[dsl.Artifact],
    study: dsl.Input[dsl.Artifact],
    batch: dsl.Output[dsl.Artifact],
) -> List[str]:  # noqa: UP006
    """Asks Optuna for this round's trials."""
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    items, metadata = steps.suggestion(study.path, batch.path)
    batch.metadata.update(metadata)
    return items
