"""Writes records of trials: to the job, and to a ConfigMap where the job does not stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from katibflow.experiment import job_kinds, trial_template
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.ending import is_taken_back
from katibflow.runners.kubernetes.job_object import (
    Identity,
    holds_still,
    job_body,
    merged,
    record_patch,
    stop_patch,
)
from katibflow.runners.kubernetes.owner import check_owner, released
from katibflow.runners.kubernetes.quota import used_up
from katibflow.runners.kubernetes.record_lifetime import is_leaving, lifetime_of, lifetime_path
from katibflow.runners.kubernetes.record_maps import RecordMaps
from katibflow.runners.kubernetes.workloads import has_queue, without_queue
from katibflow.study.history import Trial

__all__ = ["RecordKeeper"]


class RecordKeeper:
    """Writes the records of one run's trials.

    Args:
        api: Requests in the namespace.
        identity: The namespace, experiment and run.
        template: The trialTemplate.
        owner: apiVersion, kind, name and uid of the object that the jobs of running trials belong
            to; records belong to nobody.
        search: What the experiment searches, as on the jobs.
        removed: Returns once the job of a name, which is being deleted, is gone.
        refused: Called with what is not possible, and the server's refusal.

    Attributes:
        maps: The records in ConfigMaps.
        has_lifetime: Whether the template's jobs are to be deleted some time after their end.
    """

    def __init__(
        self,
        api: Api,
        identity: Identity,
        template: TrialTemplate,
        owner: Mapping[str, Any] | None,
        search: str,
        removed: Callable[[str, bool], None],
        refused: Callable[[str, ApiError], None],
    ) -> None:
        spec = template.trial_spec or {}
        self.maps = RecordMaps(api, identity, owner, search)
        self._kind = job_kinds.kind_of(spec)
        self.has_lifetime = lifetime_of(self._kind, spec) is not None
        self._api = api
        self._identity = identity
        self._template = template
        self._owner = owner
        self._search = search
        self._removed = removed
        self._refused = refused

    def write(self, trial: Trial) -> bool:
        """Writes a trial's present state to its record; it is durable when this returns.

        A job with a lifetime gets it back, once the record is in a ConfigMap too; one that was
        stopped is deleted, as its controller does not call it finished. If the job does not exist
        (any more), is being deleted, or was let run again by somebody after it was stopped, a
        ConfigMap alone is the record; or, where there may be none, a suspended job, if the kind can
        be suspended.

        Returns:
            Whether the trial has a job.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach, or the owner of the job was deleted.
        """
        patch = released(record_patch(trial), trial, self._owner)
        lifetime = self._lifetime(trial) if trial.state.is_finished and self.has_lifetime else None
        is_kept = lifetime is not None and self.keep(trial)
        if is_kept:
            patch = merged(patch, lifetime or {})
        path = self._path(trial)
        try:
            body = self._api.request("PATCH", path, body=patch)
        except ApiError as error:
            if error.status != 404:
                raise
            check_owner(self._api, self._owner)
            body = None
        if body is None or is_leaving(body):
            if not (is_kept or (trial.state.is_finished and self.keep(trial))):
                self._write_anew(trial, patch, body is not None)
            return False
        if is_taken_back(self._kind, body) and trial.state.is_finished:
            self._api.request("DELETE", path, body={"propagationPolicy": "Foreground"})
            if not (is_kept or self.keep(trial)):
                self._write_anew(trial, patch, True)
            return False
        if is_kept and holds_still(self._kind, body):
            self._delete(path)
        return True

    def keep(self, trial: Trial) -> bool:
        """Keeps a finished trial's record in a ConfigMap; returns False if the server refuses."""
        try:
            self.maps.put(trial)
        except ApiError as error:
            if self.has_lifetime:
                field = lifetime_path(self._kind)
                self._refused(f"{field} is not applied, as jobs are the only records", error)
            return False
        return True

    def may_release(self, body: Mapping[str, Any]) -> bool:
        """Returns whether a finished job stays only since it was made without its lifetime."""
        return self.has_lifetime and lifetime_of(self._kind, body) is None and not is_leaving(body)

    def _lifetime(self, trial: Trial) -> dict[str, Any] | None:
        return lifetime_of(self._kind, self._manifest(trial))

    def _manifest(self, trial: Trial) -> dict[str, Any]:
        name, space = trial.job or "", self._api.namespace
        return trial_template.render(self._template, trial.assignments, name=name, namespace=space)

    def _path(self, trial: Trial) -> str:
        return self._api.path(self._kind.api_version, self._kind.plural, trial.job or "")

    def _delete(self, path: str) -> None:
        try:
            self._api.request("DELETE", path, body={"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise

    def _write_anew(self, trial: Trial, patch: Mapping[str, Any], is_leaving: bool) -> None:
        """Creates a suspended job as the record of a trial that has no job to stay."""
        if self._kind.stop is None:
            return
        name = trial.job or ""
        if is_leaving:
            self._removed(name, True)
        jobs = self._api.path(self._kind.api_version, self._kind.plural)
        try:
            made = self._api.request("POST", jobs, body=self._suspended(trial, patch))
        except ApiError as error:
            if used_up(error, name) is None:
                raise
            self._refused(f"trial {trial.number} has no job that could keep its record", error)
            return
        if not holds_still(self._kind, made) or has_queue(made):  # a default queue would run it
            self._delete(self._path(trial))

    def _suspended(self, trial: Trial, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a job that is only the record of a trial."""
        job = TrialJob(trial, self._manifest(trial), None)
        body = job_body(job, self._identity, search=self._search)
        for part in (stop_patch(self._kind, "there was no job to keep the record"), patch):
            body = merged(body, part)
        body["metadata"]["labels"] = without_queue(body["metadata"]["labels"])
        return body
