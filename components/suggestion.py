"""Asks for a round's trials."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp import dsl  # type: ignore[import-untyped]

__all__ = ["suggestion"]


def suggestion(
    library: dsl.Input[dsl.Artifact],
    study: dsl.Input[dsl.Artifact],
    batch: dsl.Output[dsl.Artifact],
    exhausted: dsl.OutputPath(bool),
) -> List[str]:  # noqa: UP006
    """Asks Optuna for this round's trials."""
    import json
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    items, end = steps.suggestion(study.path, batch.path)
    with open(exhausted, "w") as file:
        json.dump(end, file)
    return items
