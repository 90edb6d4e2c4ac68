"""Finds runs in a cluster by their trials' jobs alone, and what those say of the Experiment.

Each job, and each ConfigMap with a record, carries the run's labels and what its Experiment
searches (`study.resume.search_text`). A job that a Workflow had made says so: the run is then one
of a pipeline, which other sources know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from katibflow.errors import RunnerError
from katibflow.experiment.job_kinds import KINDS, JobKind
from katibflow.experiment.types import Experiment
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.job_object import (
    EXPERIMENT,
    RUN,
    SEARCH,
    STATE,
    WORKFLOW,
    created_at,
    read_record,
    stand_in,
    was_stopped,
)
from katibflow.study.history import History, Trial

__all__ = ["JobRun", "experiment_of", "job_runs", "runs_meant"]

_RECORDS = JobKind("v1", "ConfigMap", "configmaps")
_ABSENT, _FORBIDDEN = 404, 403


@dataclass
class JobRun:
    """A run, as the metadata of its trials' jobs show it.

    Attributes:
        name: The Experiment's name.
        run: The label ``katibflow/run``.
        kind: The kind of its jobs; that of a record where no job is left.
        created: When the first of its objects was made.
        search: What it searches, of the newest trial; empty if no object says so.
        workflow: The name of the Workflow that made a job of it; empty if none did.
        trials: The trials on record by number.
        going: How many of its jobs have no outcome on record and were not stopped.
    """

    name: str
    run: str
    kind: JobKind
    created: datetime
    search: str = ""
    workflow: str = ""
    trials: dict[int, Trial] = field(default_factory=dict)
    going: int = 0

    def add(self, kind: JobKind, body: Mapping[str, Any]) -> None:
        """Adds what an object of the run shows; a record that cannot be read is left out."""
        metadata = body["metadata"]
        annotations = metadata.get("annotations") or {}
        if kind is not _RECORDS:
            self.kind = kind
            self.going += STATE not in metadata["labels"] and was_stopped(body) is None
        self.created = min(self.created, created_at(body))
        self.workflow = self.workflow or _workflow_of(metadata)
        try:
            trial = read_record(body)
        except RunnerError as error:
            trial = stand_in(body, str(error))
        if trial is None:
            return
        if not self.trials or trial.number >= max(self.trials):
            self.search = annotations.get(SEARCH, "") or self.search
        known = self.trials.get(trial.number)
        if known is None or not known.state.is_finished:
            self.trials[trial.number] = trial

    def history(self) -> History | None:
        """Returns the run's Experiment, as far as its jobs say it, and trials; None without it."""
        experiment = experiment_of(self.name, self.search, self.kind)
        if experiment is None:
            return None
        trials = tuple(self.trials[number] for number in sorted(self.trials))
        return History(experiment, self.run, 0, trials)


def _workflow_of(metadata: Mapping[str, Any]) -> str:
    """Returns the Workflow that made a job, as long as it runs from its owner; else empty."""
    named = (metadata.get("annotations") or {}).get(WORKFLOW, "")
    owners = (each for each in metadata.get("ownerReferences") or () if each["kind"] == "Workflow")
    return str(named or next((each["name"] for each in owners), ""))


def job_runs(api: Api, selector: str = EXPERIMENT) -> list[JobRun]:
    """Returns the runs of which a job or a record is in the namespace, the newest first.

    Only the objects' metadata is asked for. Kinds that the cluster does not have, or that this
    account may not list, are left out.

    Args:
        api: Requests in the namespace.
        selector: A label selector; by default for the jobs of every Experiment.

    Raises:
        RunnerError: The cluster does not answer, or refuses to list any kind of job.
    """
    found: dict[tuple[str, str], JobRun] = {}
    refusals: list[ApiError] = []
    may_list = False
    kinds = (*KINDS.values(), _RECORDS)
    for kind in kinds:
        try:
            for body in _metadata_of(api, kind, selector):
                labels = body["metadata"].get("labels") or {}
                name, run = labels.get(EXPERIMENT, ""), labels.get(RUN, "")
                if name and run:
                    made = found.setdefault((name, run), JobRun(name, run, kind, created_at(body)))
                    made.add(kind, body)
        except ApiError as error:
            if error.status not in (_ABSENT, _FORBIDDEN):
                raise RunnerError(f"{kind.plural} in namespace {api.namespace}: {error}") from error
            refusals += [error] if error.status == _FORBIDDEN else []
        else:
            may_list = may_list or kind is not _RECORDS
    if refusals and not may_list:
        raise RunnerError(f"the jobs in namespace {api.namespace}: {refusals[0]}") from refusals[0]
    return sorted(found.values(), key=lambda each: (each.created, each.run), reverse=True)


def _metadata_of(api: Api, kind: JobKind, selector: str) -> Iterator[Mapping[str, Any]]:
    path = api.path(kind.api_version, kind.plural)
    for page in api.pages(path, {"labelSelector": selector}, metadata_only=True):
        yield from page.get("items") or ()


def experiment_of(name: str, search: str, kind: JobKind) -> Experiment | None:
    """Returns the Experiment of a text by `search_text`, as far as the text has it.

    Long texts of the trialTemplate are hashes there, so that no trial can run from the result.

    Args:
        name: The Experiment's name.
        search: The text; of an older katibflow it has no counts.
        kind: The kind of its jobs, where the text has no trialTemplate.

    Returns:
        The Experiment; None if the text does not say what is searched.
    """
    with suppress(ValueError, KeyError, TypeError, AttributeError, ValidationError):
        data = json.loads(search)
        spec = dict(data.get("compared") or {})
        for key in ("algorithm", "earlyStopping"):
            if key in spec:
                settings = spec[key].pop("algorithmSettings", {})
                pairs = [{"name": each, "value": value} for each, value in settings.items()]
                spec[key] = {**spec[key], "algorithmSettings": pairs}
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind}
        spec.setdefault("trialTemplate", {"trialSpec": manifest})
        own = {key: data[key] for key in ("parameters", "objective", "algorithm")}
        return Experiment.model_validate(
            {
                "apiVersion": "kubeflow.org/v1beta1",
                "kind": "Experiment",
                "metadata": {"name": name},
                "spec": {**spec, **own, **(data.get("counts") or {})},
            }
        )
    return None


def runs_meant(runs: Iterable[JobRun], wanted: str) -> list[JobRun]:
    """Returns the runs of a name, an id, its first letters, or both as jobs have them."""
    return [
        each
        for each in runs
        if wanted in (each.name, f"{each.name}-{each.run}")
        or (len(wanted) >= _LEAST and each.run.startswith(wanted))
    ]


_LEAST = 4
"""The fewest letters of an id that name a run."""
