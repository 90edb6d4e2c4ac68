"""How an experiment ended, or that it has not."""

from __future__ import annotations

from dataclasses import dataclass

from katibflow.study.decision import Decision

__all__ = ["Ending"]


@dataclass(frozen=True)
class Ending:
    """How an experiment ended.

    Attributes:
        succeeded: Whether it succeeded; None while it runs.
        reason: Why it stopped, as one word.
        message: Why it stopped, as a sentence.
    """

    succeeded: bool | None
    reason: str
    message: str

    @staticmethod
    def of(decision: Decision) -> Ending:
        """Returns the end that a decision means, which is finished."""
        return Ending(decision.succeeded, decision.reason, decision.message)
