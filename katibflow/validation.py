"""Checks a whole Experiment: single fields and the rules of every concept, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from katibflow import algorithms, collectors, early_stopping, jobs, limits, space, template
from katibflow.counts import count_faults, name_faults
from katibflow.document import read_document, read_file
from katibflow.errors import Fault
from katibflow.experiment import Experiment
from katibflow.loading import Parts, Rule, checked

__all__ = ["RULES", "check_document", "load_experiment"]


def load_experiment(path: Path) -> Experiment:
    """Reads and checks an Experiment file.

    Raises:
        InputError: The file is no readable YAML mapping.
        InvalidExperiment: The Experiment has faults; all are listed.
    """
    return check_document(read_document(read_file(path), str(path)), str(path))


def check_document(
    document: Mapping[str, Any], source: str, *, needs_template: bool = True
) -> Experiment:
    """Checks an Experiment given as plain data.

    Args:
        document: The Experiment in the YAML's names.
        source: Where it comes from, for errors.
        needs_template: Whether a template that is kept in a ConfigMap is a fault.

    Raises:
        InvalidExperiment: It has faults; all are listed.
    """
    rules = (*RULES, template.source_faults) if needs_template else RULES
    return checked(document, source, rules)


def _architecture_faults(parts: Parts) -> Iterator[Fault]:
    if parts.nas_config is not None:
        yield Fault("spec.nasConfig", "neural architecture search", "parameters; NAS is not done")


RULES: tuple[Rule, ...] = (
    name_faults,
    limits.faults,
    space.faults,
    algorithms.faults,
    early_stopping.faults,
    collectors.faults,
    count_faults,
    template.faults,
    jobs.faults,
    _architecture_faults,
)
"""Every rule that compares fields, each kept with the concept that it is about."""
