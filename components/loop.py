"""Decides whether another round follows."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["loop"]


def loop(
    library: dsl.Input[dsl.Artifact],
    study: dsl.Input[dsl.Artifact],
    reason: dsl.OutputPath(str),
) -> bool:
    """Decides whether another round follows."""
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    proceed, why = steps.loop(study.path)
    with open(reason, "w") as file:
        file.write(why)
    return proceed
