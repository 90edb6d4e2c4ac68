"""The component `loop`: decides whether another round follows, and shows the trials so far."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import Artifact, Input, Markdown, Output, OutputPath

__all__ = ["loop"]


def loop(study: Input[Artifact], text: Output[Markdown], reason: OutputPath(str)) -> bool:
    """Decides whether another round follows, and shows the trials so far as a table."""
    from katibflow import steps

    return steps.loop(study.path, text, reason)
