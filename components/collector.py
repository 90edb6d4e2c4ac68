"""Reads the metrics of a round's trials: the next study."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from typing import List  # noqa: UP035 - the form that KFP reads

from kfp import dsl

__all__ = ["collector"]


def collector(
    library: dsl.Input[dsl.Artifact],
    batch: dsl.Input[dsl.Artifact],
    outcomes: List[str],  # noqa: UP006
    logs: dsl.Input[List[dsl.Artifact]],  # noqa: UP006
    study: dsl.Output[dsl.Artifact],
    number: dsl.OutputPath(int),
    trials: dsl.OutputPath(int),
) -> None:
    """Reads the metrics of this round's trials: the next study."""
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    by_trial = {int(log.metadata["trial"]): log.path for log in logs}
    done = steps.collector(batch.path, outcomes, by_trial, study.path)
    study.metadata.update(round=done.round, display_name=f"study after round {done.round}")
    for path, value in ((number, done.round), (trials, done.trials)):
        with open(path, "w") as file:
            file.write(str(value))
