"""Checks a whole Experiment and finds all its faults at once.

The rules themselves are not here: each is in the module of the concept that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from katibflow import collectors, early_stopping, tracking
from katibflow.errors import InvalidExperiment
from katibflow.experiment import further_runs, job_rules, timeouts, trial_template
from katibflow.experiment.counts import count_faults, name_faults
from katibflow.experiment.legacy import legacy_faults
from katibflow.experiment.manifests import experiment_in, named
from katibflow.experiment.parsing import Rule, checked
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import in_file_order, read_file
from katibflow.study import objectives
from katibflow.suggestion import algorithms, enqueued
from katibflow.suggestion.space import conditions, operations, search_space

__all__ = ["RULES", "check_document", "load_experiment"]


def load_experiment(path: Path) -> Experiment:
    """Reads and checks the Experiment of a file.

    Raises:
        InputError: The file cannot be read, or holds no YAML mapping.
        InvalidExperiment: The Experiment has faults; the error lists all of them.
    """
    return check_document(experiment_in(read_file(path), str(path)), str(path))


def check_document(
    document: Mapping[str, Any], source: str, *, needs_template: bool = True
) -> Experiment:
    """Checks an Experiment that is given as plain data, and returns it.

    Args:
        document: The Experiment in the YAML's names.
        source: The name of the document's origin in errors.
        needs_template: Whether a template in a ConfigMap is a fault; True by default.

    Raises:
        InvalidExperiment: The Experiment has faults; the error lists all of them. If it is one of
            an older Katib, the error lists only those faults.
    """
    document = named(document)
    from_older = legacy_faults(document)
    if from_older:
        raise InvalidExperiment(source, in_file_order(from_older, document))
    rules = (*RULES, trial_template.source_faults) if needs_template else RULES
    return checked(document, source, rules)


RULES: tuple[Rule, ...] = (
    name_faults,
    timeouts.faults,
    further_runs.faults,
    tracking.faults,
    search_space.faults,
    conditions.faults,
    operations.faults,
    objectives.faults,
    algorithms.faults,
    enqueued.faults,
    early_stopping.faults,
    collectors.faults,
    count_faults,
    trial_template.faults,
    job_rules.faults,
)
"""All rules that compare fields, from the modules of the concepts that they are about."""
