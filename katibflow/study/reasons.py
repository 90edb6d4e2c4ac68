"""The reasons why trials and experiments end, one word each: Katib's, and some of katibflow's own.

Code compares these words and never the sentences beside them, which are for people. A failed trial
may have another word, the reason of its pods, as ``OOMKilled``.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ExperimentReason", "TrialReason"]


class TrialReason(StrEnum):
    """Why a trial ended."""

    SUCCEEDED = "TrialSucceeded"
    FAILED = "TrialFailed"
    KILLED = "TrialKilled"
    INTERRUPTED = "TrialInterrupted"  # its run ended before it did
    EARLY_STOPPED = "TrialEarlyStopped"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    # For trials that ran to their end and can never be best:
    OBJECTIVE_NOT_FINITE = "ObjectiveNotFinite"
    CONSTRAINT_BROKEN = "ConstraintBroken"


class ExperimentReason(StrEnum):
    """Why an experiment ended, or why it has not ended."""

    GOAL_REACHED = "ExperimentGoalReached"
    MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"
    SUGGESTION_END_REACHED = "ExperimentSuggestionEndReached"
    FAILED = "ExperimentFailed"
    # For ends of a run that do not follow from its trials:
    ROUNDS_USED_UP = "PipelineRoundsUsedUp"
    PIPELINE_ENDED = "PipelineEnded"
    PIPELINE_RUN_ENDED = "PipelineRunEnded"
    PIPELINE_RUN_STOPPED = "PipelineRunStopped"
    # For experiments that have not ended:
    INTERRUPTED = "Interrupted"
    RUNNING = "Running"
    NOT_FINISHED = "NotFinished"
