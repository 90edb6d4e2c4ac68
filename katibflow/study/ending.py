"""The ending of an experiment as a value, for the report, the terminal and Python."""

from __future__ import annotations

from dataclasses import dataclass

from katibflow.study.decision import Decision

__all__ = ["Ending"]


@dataclass(frozen=True)
class Ending:
    """Says how an experiment ended, or why it has not ended.

    Attributes:
        succeeded: Whether the experiment succeeded; None if it has not ended.
        reason: Why the experiment stopped, as one word, an `ExperimentReason`.
        message: Why the experiment stopped, as a sentence.
    """

    succeeded: bool | None
    reason: str
    message: str

    @staticmethod
    def of(decision: Decision) -> Ending:
        """Returns the ending of a finished decision."""
        return Ending(decision.succeeded, decision.reason, decision.message)
