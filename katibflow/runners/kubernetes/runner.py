"""Runs trials as Kubernetes jobs; the job objects are the record.

A retried caller adopts the jobs it finds. All trials of a run share one watch of the jobs and one
or two of the pods; each running trial follows one log. What is known of a trial's objects is
forgotten with its end. Pods that outlive their job are ended beside the next trials. ``retain:
false`` deletes the pods of a trial once it is on record, beside the next trials too, and keeps the
job object. Records of jobs that do not stay are ConfigMaps (`record_keeper`). This command removes
an experiment for good::

    kubectl delete pytorchjobs,configmaps -n NAMESPACE -l katibflow/experiment=NAME
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from katibflow.errors import InputError, RunnerError
from katibflow.experiment import job_kinds
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import Observer
from katibflow.runners.kubernetes.api import Api, ApiError, connect
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.ending import end_job, is_taken_back
from katibflow.runners.kubernetes.event_log import EventLog
from katibflow.runners.kubernetes.explanations import explained
from katibflow.runners.kubernetes.follower import TrialFollower
from katibflow.runners.kubernetes.job_object import (
    EXPERIMENT,
    RUN,
    SEARCH,
    STATE,
    TRIAL,
    Identity,
    Shape,
    job_body,
    read_record,
    record_patch,
    stand_in,
    was_stopped,
)
from katibflow.runners.kubernetes.leftovers import Leftovers
from katibflow.runners.kubernetes.owner import released
from katibflow.runners.kubernetes.quota import QuotaWait, Room, UsedUp, explanation, used_up
from katibflow.runners.kubernetes.record_keeper import RecordKeeper
from katibflow.runners.kubernetes.record_lifetime import is_leaving
from katibflow.runners.kubernetes.trial_watches import TrialWatches, selector_of
from katibflow.runners.kubernetes.verdict import Adoption, adoption
from katibflow.runners.kubernetes.waiting import Waiting
from katibflow.runners.kubernetes.watch import Watch, WatchFailed
from katibflow.runners.kubernetes.workloads import is_suspended
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial
from katibflow.study.interruption import interrupted
from katibflow.study.job_name import job_prefixes
from katibflow.study.resume import EarlierTrial

__all__ = ["KubernetesRunner", "connect"]

Result = TypeVar("Result")


def _to_stderr(text: str) -> None:
    print(f"katibflow: {text}", file=sys.stderr, flush=True)


class KubernetesRunner:
    """Runs one experiment's trials in a namespace; see `runners.base.Runner`.

    Args:
        api: Requests in the namespace, from `connect`.
        experiment: The Experiment's name.
        run: The run's id; a runner touches the jobs of this run only.
        template: The trialTemplate: kind, conditions, labels, and whether pods are kept.
        owner: apiVersion, kind, name and uid of the object whose deletion deletes the jobs too,
            until their trials are on record.
        search: The text of `study.resume.search_text`, which every job carries.
        tell: Called, from any thread, with messages for a person on trials that do not run; by
            default it prints a line to standard error.

    Raises:
        InputError: A name is not valid in Kubernetes, or a condition is not GJSON.
    """

    def __init__(
        self,
        api: Api,
        *,
        experiment: str,
        run: str,
        template: TrialTemplate,
        owner: Mapping[str, Any] | None = None,
        search: str = "",
        tell: Callable[[str], None] = _to_stderr,
    ) -> None:
        spec = template.trial_spec or {}
        self._api = api
        self._identity = Identity(api.namespace, experiment, run)
        self._template = template
        self._owner = owner
        self._search = search
        self._kind = kind = job_kinds.kind_of(spec)
        success = template.success_condition or kind.success_condition
        failure = template.failure_condition or kind.failure_condition
        if success is None or failure is None:
            raise InputError(
                f"spec.trialTemplate: {kind.kind} has no default conditions; allowed: "
                "successCondition and failureCondition"
            )
        self._conditions = Conditions(success, failure)
        labels = template.primary_pod_labels or kind.primary_pod_labels or {}
        self._labels = None if kind.kind == "PyTorchJob" else labels
        self._jobs_path = api.path(kind.api_version, kind.plural)
        self._watches = TrialWatches(
            api, self._jobs_path, self._identity, Shape.of(spec), kind, labels, self._number_in
        )
        self._events = EventLog(api, self._number_in)
        self._leftovers = Leftovers(api, self._watches.all, tell, self._watches.release)
        self._tell = tell
        self._told: set[str] = set()
        self._waiting = Waiting()
        self._records = RecordKeeper(
            api, self._identity, template, owner, search, self._remove, self._refused
        )
        self._room = Room()

    def _number_in(self, name: str) -> str | None:
        """Returns the number of the trial whose job has this name, or begins a name with it."""
        limit = job_kinds.name_limit(self._template.trial_spec or {})
        prefixes = job_prefixes(self._identity.experiment, self._identity.run, limit)
        numbers = (
            name.removeprefix(prefix).partition("-")[0]
            for prefix in prefixes
            if name.startswith(prefix)
        )
        return next((number for number in numbers if number.isdecimal()), None)

    def records(self) -> Sequence[Trial]:
        """Returns the trials of this run on record, running ones included, by ascending number.

        It reports each record that cannot be read, and uses `stand_in` for that trial. A finished
        trial whose job is being deleted gets a record that stays.
        """

        def read(body: Mapping[str, Any]) -> Trial | None:
            trial = self._trial_of(body, stand_in)
            if trial is not None and trial.state.is_finished:
                self._watches.release(trial.number)
                if is_leaving(body):
                    self._records.keep(trial)
            return trial

        found: dict[int, Trial] = {}
        for trial in self._each_record(self._identity.labels, read):
            known = found.get(trial.number)
            if known is None or not known.state.is_finished:
                found[trial.number] = trial
        return tuple(found[number] for number in sorted(found))

    def earlier(self) -> Sequence[EarlierTrial]:
        """Yields the trials on record of every run of the experiment, this one included.

        It reports and leaves out the trials whose records cannot be read.

        Raises:
            RunnerError: The records cannot be read.
        """

        def read(body: Mapping[str, Any]) -> EarlierTrial | None:
            trial, metadata = self._trial_of(body), body["metadata"]
            search = (metadata.get("annotations") or {}).get(SEARCH, "")
            run = metadata["labels"].get(RUN, "")
            return None if trial is None else EarlierTrial(run, trial, search)

        found: dict[tuple[str, int], EarlierTrial] = {}
        for each in self._each_record({EXPERIMENT: self._identity.experiment}, read):
            known = found.get(key := (each.run, each.trial.number))
            if known is None or not known.trial.state.is_finished:
                found[key] = each
        return list(found.values())

    def _each_record(
        self, labels: Mapping[str, str], read: Callable[[Mapping[str, Any]], Result | None]
    ) -> list[Result]:
        """Returns the results of ``read`` for each job, and ConfigMap of one, with the labels.

        The objects are not kept.
        """

        def results() -> Iterator[Result | None]:
            for page in self._api.pages(self._jobs_path, {"labelSelector": selector_of(labels)}):
                yield from map(read, page.get("items") or ())
            try:
                yield from map(read, self._records.maps.each(selector_of(labels)))
            except ApiError as error:
                if error.status != 403:
                    raise
                if self._records.has_lifetime:  # or nobody has made any, as far as is known
                    self._refused("the records in ConfigMaps cannot be read", error)

        return self._explained(lambda: [each for each in results() if each is not None])

    def _refused(self, what: str, error: ApiError) -> None:
        """Tells what is not possible, once, with the rules that would allow it."""
        self._tell_once(f"{what}: {explained(error, self._kind, self._api)}")

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def _trial_of(
        self,
        body: Mapping[str, Any],
        otherwise: Callable[[Mapping[str, Any], str], Trial | None] = lambda body, why: None,
    ) -> Trial | None:
        """Returns the trial on a job's record; reports a record that cannot be read, once."""
        try:
            return read_record(body)
        except RunnerError as error:
            self._tell_once(str(error))
            return otherwise(body, str(error))

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Creates the trial's job or adopts the existing one, and follows it to its end."""
        return self._explained(lambda: self._run(job, observe, stop))

    def _run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        body = job_body(job, self._identity, self._owner, self._search)
        if stop.reason is not None:
            return JobOutcome(JobState.STOPPED, "TrialStopped", stop.reason.text)
        created = self._create(job, body, observe, stop)
        if created is None:
            assert stop.reason is not None
            return JobOutcome(JobState.STOPPED, "TrialStopped", stop.reason.text)
        made, is_found = created
        follower = TrialFollower(
            self._api,
            job,
            self._conditions,
            self._labels,
            self._template.retain,
            made,
            is_found,
            observe,
            stop,
            self._events,
            lambda: self._watches.pods_now(job.trial),
            self._waiting,
        )
        with self._watches.subscribed(job.trial.number, follower.inbox.put):
            outcome = follower.follow()
        self._leftovers.leave(job.trial.number, follower.left)
        return outcome

    def _create(
        self, job: TrialJob, body: Mapping[str, Any], observe: Observer, stop: StopRequest
    ) -> tuple[Mapping[str, Any], bool] | None:
        """Creates the trial's job once no quota refuses it, or finds the one to adopt.

        A quota, or a webhook, refuses a job that exists as well, so that this looks for the job
        after any refusal.

        Returns:
            The job, and whether it was found; None if the trial was stopped while it waited.
        """
        name = job.trial.job or ""
        wait = QuotaWait(self._room, self._api.timing, job.limits.start, self._why_full)
        while True:
            try:
                return self._api.request("POST", self._jobs_path, body=body), False
            except ApiError as refusal:
                found = self._get(name)
                if found is None:
                    full = used_up(refusal, name)
                    if full is not None:
                        wait.pass_time(full, observe, stop)
                        if stop.reason is not None:
                            return None
                    elif refusal.status != 409:
                        raise
                    continue
            match adoption(self._identity, job.trial.number, found):
                case Adoption.FOREIGN:
                    raise RunnerError(
                        f"{self._kind.kind} {name} in namespace {self._api.namespace} exists and "
                        f"is not this run's: its labels are {found['metadata'].get('labels') or {}}"
                        "; delete it, or give the experiment another name"
                    )
                case Adoption.ADOPTED:
                    return found, True
                case Adoption.LEAVING | Adoption.STOPPED as present:
                    self._remove(name, present is Adoption.LEAVING)

    def _get(self, name: str) -> Mapping[str, Any] | None:
        """Returns a job, or None if there is none of the name."""
        try:
            return self._api.request("GET", self._job_path(name))
        except ApiError as error:
            if error.status != 404 or not error.reason:
                raise
            return None

    def _why_full(self, full: UsedUp) -> str | None:
        """Returns what fills a quota, or None while jobs of this run run.

        Finished jobs from before the template had a lifetime get it now.
        """
        if any(self._going(())):
            return None
        names: list[str] = []
        for body in self._finished():
            names.append(body["metadata"]["name"])
            mine = body["metadata"]["labels"].get(RUN) == self._identity.run
            trial = self._trial_of(body) if mine and self._records.may_release(body) else None
            if trial is not None:
                self._records.write(trial)
        space, experiment = self._api.namespace, self._identity.experiment
        return explanation(full, self._kind, space, experiment, names)

    def _finished(self) -> Iterator[Mapping[str, Any]]:
        """Yields the experiment's jobs whose outcome is on record, of all runs."""
        selector = f"{selector_of({EXPERIMENT: self._identity.experiment})},{STATE}"
        for page in self._api.pages(self._jobs_path, {"labelSelector": selector}):
            yield from page.get("items") or ()

    def _remove(self, name: str, gone: bool) -> None:
        """Deletes a job with its pods; returns once the job is gone."""
        changes: SimpleQueue[object] = SimpleQueue()
        query = {"fieldSelector": f"metadata.name={name}"}
        one: Watch[bool] = Watch(
            self._api, self._jobs_path, query, lambda found, _: found, lambda _: True
        )
        until = monotonic() + 2 * self._api.timing.stop
        try:
            one.subscribe(name, changes.put)
            if not gone:
                self._delete(self._job_path(name), {"propagationPolicy": "Foreground"})
            while one.holds(name):
                event = changes.get(timeout=max(0.0, until - monotonic()))
                if isinstance(event, WatchFailed):
                    raise event.error
        except Empty:
            raise RunnerError(
                f"{self._kind.kind} {name} of an earlier try is still being deleted; see its "
                "finalizers and its pods"
            ) from None
        finally:
            one.close()

    def record(self, trial: Trial) -> None:
        """Writes a trial's present state to its record; see `RecordKeeper.write`.

        Once a finished trial is on record its job belongs to nobody, and its pods are deleted,
        unless the template retains them. Pods that still run get some time to end first.

        Raises:
            RunnerError: The record cannot be written, or the owner of the job was deleted.
        """
        self._explained(lambda: self._record(trial))

    def _record(self, trial: Trial) -> None:
        has_job = self._records.write(trial)
        self._room.trial_ended()
        if trial.state.is_finished:
            are_to_go = has_job and not self._template.retain
            self._leftovers.finish(
                trial.number, self._watches.pod_selectors(trial) if are_to_go else ()
            )

    def going(self) -> Sequence[str]:
        """Returns the names of this run's jobs that still run.

        Raises:
            RunnerError: The jobs cannot be read.
        """
        return self._explained(lambda: [body["metadata"]["name"] for body in self._going(())])

    def _going(self, keep: Collection[int]) -> Iterator[Mapping[str, Any]]:
        selector = f"{selector_of(self._identity.labels)},!{STATE}"
        for page in self._api.pages(self._jobs_path, {"labelSelector": selector}):
            for body in page.get("items") or ():
                metadata = body["metadata"]
                number = metadata["labels"].get(TRIAL, "")
                kept = number.isdecimal() and int(number) in keep
                stopped = was_stopped(body) is not None and not is_taken_back(self._kind, body)
                over = stopped or self._conditions.end(body) is not None
                if not (kept or over):
                    yield body

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops every running job of this run; its controller then ends its pods."""
        self._explained(lambda: self._sweep(keep, reason))

    def _sweep(self, keep: Collection[int], reason: str) -> None:
        # Those that wait come first: the others' places would let them run.
        for body in sorted(self._going(keep), key=lambda body: not is_suspended(body)):
            name = body["metadata"]["name"]
            end_job(self._api, self._kind, name, reason, self._tell, job=body)

    def interrupt(self, reason: str) -> Sequence[str]:
        """Stops every running job of this run, and puts its trials on record as interrupted.

        A job that has ended by itself stays as it is, for a later try of the run to adopt.

        Args:
            reason: The reason, for the jobs and the records.

        Returns:
            The names of the jobs that were stopped.

        Raises:
            RunnerError: Some jobs could not be stopped.
        """
        starts = {trial.number: trial.start for trial in self.records()}
        names = self.going()
        self.sweep((), reason)
        for trial in self.records():
            if not trial.state.is_finished:
                begun = replace(trial, start=starts.get(trial.number))
                self._explained(partial(self._mark, interrupted(begun, reason)))
        return names

    def _mark(self, trial: Trial) -> None:
        """Puts an interrupted trial on record, if its job is still there."""
        try:
            patch = released(record_patch(trial), trial, self._owner)
            self._api.request("PATCH", self._job_path(trial.job or ""), body=patch)
        except ApiError as error:
            if error.status != 404:
                raise

    def close(self) -> None:
        """Ends the pods that finished trials have left, within a bounded time, and the watches."""
        self._leftovers.close()
        self._api.closed.set()
        self._events.close()
        self._watches.close()

    def _job_path(self, name: str) -> str:
        return self._api.path(self._kind.api_version, self._kind.plural, name)

    def _delete(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        try:
            self._api.request("DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    def _explained(self, do: Callable[[], Result]) -> Result:
        """Calls a function; adds to the server's refusal the rules that would allow the request."""
        try:
            return do()
        except ApiError as error:
            raise RunnerError(explained(error, self._kind, self._api)) from error
