"""The component `library`: contains the packed library and never runs; `start` reads it.

The Workflow object repeats the source of a component that runs eight times, but has the source of
one in a DAG that never starts only once.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

__all__ = ["PACK", "library"]

PACK = "@katibflow-pack@"
"""The text that the compiler replaces by the pack's mark, a colon, and the pack."""


def library() -> None:
    """Contains the pack."""
    pack = "@katibflow-pack@"
    del pack
