"""Holds the packed library, and never runs: see `start`, which reads it.

A component that runs has its source in the Workflow object eight times, one in a DAG that is never
entered has it there once.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

__all__ = ["PACK", "library"]

PACK = "@katibflow-pack@"
"""Stands in the source where the compiler puts the pack's mark, a colon, and the pack."""


def library() -> None:
    """Is only read."""
    pack = "@katibflow-pack@"
    del pack
