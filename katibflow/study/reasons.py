"""Why a trial or an experiment ended, each as one word: Katib's condition reasons, and our own.

Code compares these words and never the sentences beside them, which are for people. A job that
failed may have another word, that of its pods, as ``OOMKilled``.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ExperimentReason", "TrialReason"]


class TrialReason(StrEnum):
    """Why a trial ended."""

    SUCCEEDED = "TrialSucceeded"
    FAILED = "TrialFailed"
    KILLED = "TrialKilled"
    EARLY_STOPPED = "TrialEarlyStopped"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    # Of trials that ran to their end and may not be best:
    OBJECTIVE_NOT_FINITE = "ObjectiveNotFinite"
    CONSTRAINT_BROKEN = "ConstraintBroken"


class ExperimentReason(StrEnum):
    """Why an experiment ended, or how it stands."""

    GOAL_REACHED = "ExperimentGoalReached"
    MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"
    SUGGESTION_END_REACHED = "ExperimentSuggestionEndReached"
    FAILED = "ExperimentFailed"
    # Ends of a run that a decision on trials cannot know:
    ROUNDS_USED_UP = "PipelineRoundsUsedUp"
    PIPELINE_ENDED = "PipelineEnded"
    PIPELINE_RUN_ENDED = "PipelineRunEnded"
    # No end:
    INTERRUPTED = "Interrupted"
    NOT_FINISHED = "NotFinished"
