"""Runs trials as Kubernetes jobs; the job objects are the record.

A retried caller adopts the jobs it finds. All trials of a run share one watch of the jobs and one
or two of the pods; each running trial follows one log. Pods that outlive their job are ended beside
the next trials. ``retain: false`` deletes the pods of a trial once it is on record and keeps the
job object; this command removes an experiment for good::

    kubectl delete pytorchjobs -n NAMESPACE -l katibflow/experiment=NAME
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from katibflow.errors import InputError, RunnerError
from katibflow.experiment import job_kinds, trial_template
from katibflow.experiment.job_kinds import JobKind
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import Observer
from katibflow.runners.kubernetes.api import Api, ApiError, connect
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.ending import end_job, is_taken_back
from katibflow.runners.kubernetes.follower import TrialFollower
from katibflow.runners.kubernetes.job_object import (
    EXPERIMENT,
    RUN,
    SEARCH,
    STATE,
    TRIAL,
    Identity,
    Shape,
    holds_still,
    job_body,
    merged,
    read_record,
    record_patch,
    stand_in,
    stop_patch,
    was_stopped,
)
from katibflow.runners.kubernetes.leftovers import Leftovers
from katibflow.runners.kubernetes.pods import read_pod
from katibflow.runners.kubernetes.rbac import missing_role
from katibflow.runners.kubernetes.refusals import Refusal, refusal
from katibflow.runners.kubernetes.verdict import Adoption, adoption
from katibflow.runners.kubernetes.waiting import Waiting
from katibflow.runners.kubernetes.watch import Watch, WatchFailed
from katibflow.runners.kubernetes.workloads import has_queue, is_suspended, without_queue
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial
from katibflow.study.job_name import job_prefixes
from katibflow.study.resume import EarlierTrial

__all__ = ["KubernetesRunner", "connect"]

Result = TypeVar("Result")

_OPERATORS = {
    "kubeflow.org": "the Kubeflow Training Operator",
    "trainer.kubeflow.org": "Kubeflow Trainer",
    "ray.io": "the KubeRay operator",
    "argoproj.io": "Argo Workflows",
}


def _to_stderr(text: str) -> None:
    print(f"katibflow: {text}", file=sys.stderr, flush=True)


class KubernetesRunner:
    """Runs one experiment's trials in a namespace; see `runners.base.Runner`.

    Args:
        api: Requests in the namespace, from `connect`.
        experiment: The Experiment's name.
        run: The run's id; a runner touches the jobs of this run only.
        template: The trialTemplate: kind, conditions, labels, and whether pods are kept.
        owner: apiVersion, kind, name and uid of the object whose deletion deletes the jobs too.
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
        self._pods_path = api.path("v1", "pods")
        self._watches = tuple(self._make_watches(Shape.of(spec), labels))
        self._leftovers = Leftovers(api, self._watches, tell)
        self._tell = tell
        self._told: set[str] = set()
        self._waiting = Waiting()

    def _make_watches(self, shape: Shape, labels: Mapping[str, str]) -> Iterator[Watch[Any]]:
        own = _selector(self._identity.labels)
        running = {"labelSelector": f"{own},!{STATE}"}
        yield Watch(self._api, self._jobs_path, running, _number_of, lambda body: body)
        if shape.labelled:
            yield Watch(self._api, self._pods_path, {"labelSelector": own}, _number_of, read_pod)
        limit = job_kinds.name_limit(self._template.trial_spec or {})
        prefixes = job_prefixes(self._identity.experiment, self._identity.run, limit)

        def by_job_name(name: str, pod_labels: Mapping[str, str]) -> str | None:
            job = pod_labels.get(self._kind.name_label, "") if self._kind.name_label else name
            numbers = (
                job.removeprefix(prefix).partition("-")[0]
                for prefix in prefixes
                if job.startswith(prefix)
            )
            return next((number for number in numbers if number.isdecimal()), None)

        if self._kind.name_label:
            by_name = {"labelSelector": self._kind.name_label}
            yield Watch(self._api, self._pods_path, by_name, by_job_name, read_pod)
        elif not shape.labelled:  # a kind of which nothing is known but what the file says
            by_labels = {"labelSelector": _selector(labels)} if labels else {}
            yield Watch(self._api, self._pods_path, by_labels, by_job_name, read_pod)

    def records(self) -> Sequence[Trial]:
        """Returns the trials of this run on record, running ones included, by ascending number.

        It reports each record that cannot be read, and uses `stand_in` for that trial.
        """
        own = self._each_job(self._identity.labels, lambda body: self._trial_of(body, stand_in))
        return tuple(sorted(own, key=lambda trial: trial.number))

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

        return self._each_job({EXPERIMENT: self._identity.experiment}, read)

    def _each_job(
        self, labels: Mapping[str, str], read: Callable[[Mapping[str, Any]], Result | None]
    ) -> list[Result]:
        """Returns the results of ``read`` for each job with the labels; the jobs are not kept."""

        def results() -> Iterator[Result | None]:
            for page in self._api.pages(self._jobs_path, {"labelSelector": _selector(labels)}):
                yield from map(read, page.get("items") or ())

        return self._explained(lambda: [each for each in results() if each is not None])

    def _trial_of(
        self,
        body: Mapping[str, Any],
        otherwise: Callable[[Mapping[str, Any], str], Trial | None] = lambda body, why: None,
    ) -> Trial | None:
        """Returns the trial on a job's record; reports a record that cannot be read, once."""
        try:
            return read_record(body)
        except RunnerError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                self._tell(str(error))
            return otherwise(body, str(error))

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Creates the trial's job or adopts the existing one, and follows it to its end."""
        return self._explained(lambda: self._run(job, observe, stop))

    def _run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        body = job_body(job, self._identity, self._owner, self._search)
        if stop.reason is not None:
            return JobOutcome(JobState.STOPPED, "TrialStopped", stop.reason.text)
        made, is_found = self._create(job, body)
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
            self._waiting,
        )
        key = str(job.trial.number)
        with ExitStack() as subscribed:
            for watch in self._watches:
                subscribed.callback(watch.subscribe(key, follower.inbox.put))
            outcome = follower.follow()
        self._leftovers.leave(job.trial.number, follower.left)
        return outcome

    def _create(self, job: TrialJob, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """Creates the job, or finds the existing one to adopt; returns whether it was found."""
        name = job.trial.job or ""
        while True:
            try:
                return self._api.request("POST", self._jobs_path, body=body), False
            except ApiError as error:
                if error.status != 409:
                    raise
            try:
                found = self._api.request("GET", self._job_path(name))
            except ApiError as error:
                if error.status != 404:
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
        """Writes a trial's present state to the record on its job.

        If the job does not exist (any more), a suspended one is created, if the kind can be
        suspended. Once a finished trial is on record its pods are deleted, unless the template
        retains them. Pods that still run get some time to end first.
        """
        self._explained(lambda: self._record(trial))

    def _record(self, trial: Trial) -> None:
        patch = record_patch(trial)
        try:
            body = self._api.request("PATCH", self._job_path(trial.job or ""), body=patch)
        except ApiError as error:
            if error.status != 404:
                raise
            self._record_without_job(trial, patch)
            return
        leaves, taken_back = (
            "deletionTimestamp" in body["metadata"],
            is_taken_back(self._kind, body),
        )
        if leaves or taken_back:  # the record would go with the job, or the job would go on
            self._remove(trial.job or "", leaves)
            self._record_without_job(trial, patch)
            return
        if trial.state.is_finished and not self._template.retain:
            selectors = [_selector({**self._identity.labels, TRIAL: str(trial.number)})]
            if self._kind.name_label:
                selectors.append(_selector({self._kind.name_label: trial.job or ""}))
            self._leftovers.delete(trial.number, selectors)

    def _record_without_job(self, trial: Trial, patch: Mapping[str, Any]) -> None:
        """Creates a suspended job that is only the trial's record, where that stays suspended."""
        if self._kind.stop is None:
            return
        body = self._suspended(trial, patch)
        made = self._api.request("POST", self._jobs_path, body=body)
        if not holds_still(self._kind, made) or has_queue(made):  # a default queue would run it
            self._delete(self._job_path(trial.job or ""))

    def _suspended(self, trial: Trial, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a job that is only the record of a trial."""
        name, space = trial.job or "", self._api.namespace
        manifest = trial_template.render(
            self._template, trial.assignments, name=name, namespace=space
        )
        body = job_body(TrialJob(trial, manifest, None), self._identity, self._owner, self._search)
        for part in (stop_patch(self._kind, "there was no job to keep the record"), patch):
            body = merged(body, part)
        body["metadata"]["labels"] = without_queue(body["metadata"]["labels"])
        return body

    def going(self) -> Sequence[str]:
        """Returns the names of this run's jobs that still run.

        Raises:
            RunnerError: The jobs cannot be read.
        """
        return self._explained(lambda: [body["metadata"]["name"] for body in self._going(())])

    def _going(self, keep: Collection[int]) -> Iterator[Mapping[str, Any]]:
        selector = f"{_selector(self._identity.labels)},!{STATE}"
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

    def close(self) -> None:
        """Ends the pods that finished trials have left, within a bounded time, and the watches."""
        self._leftovers.close()
        self._api.closed.set()
        for watch in self._watches:
            watch.close()

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
            raise RunnerError(self._explanation(error)) from error

    def _explanation(self, error: ApiError) -> str:
        kind, api = self._kind, self._api
        by = refusal(error.asked.verb, error.status, error.details) if error.asked else Refusal.NONE
        lacks_rule = by in (Refusal.ACCESS, Refusal.UNCLEAR)
        if error.asked and lacks_rule and api.may(error.asked) is not True:
            role = missing_role(kind, api.namespace, error.asked, api.account())
            return f"{error}\nApply this in the cluster:\n{role}"
        if by is Refusal.WEBHOOK:
            return f"a webhook of the cluster refuses the {kind.kind} of trialSpec: {error}"
        if error.status == 404 and not error.reason:  # the API has no such path
            return _missing_kind(kind, error)
        return f"trials cannot run in namespace {self._api.namespace}: {error}"


def _missing_kind(kind: JobKind, error: ApiError) -> str:
    crd = f"{kind.plural}.{kind.group}"
    operator = _OPERATORS.get(kind.group, "whatever brings it")
    return (
        f"the cluster does not know {kind.kind} ({kind.api_version}): {error}. "
        f"Its CustomResourceDefinition {crd} is missing: install {operator}, then "
        f"`kubectl get crd {crd}` shows it"
    )


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _number_of(name: str, labels: Mapping[str, str]) -> str | None:
    return labels.get(TRIAL)
