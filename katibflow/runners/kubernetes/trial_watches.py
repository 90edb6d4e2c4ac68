"""The watches of a run: one of its jobs, and one or two of their pods, for all its trials.

What is known of a trial's objects is forgotten once the trial is over, so that the memory of a run
does not grow with its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.job_object import STATE, TRIAL, Identity, Shape
from katibflow.runners.kubernetes.pods import Pod, read_pod
from katibflow.runners.kubernetes.watch import Watch
from katibflow.study.history import Trial

__all__ = ["TrialWatches", "selector_of"]


class TrialWatches:
    """Watches the jobs of a run and their pods; the keys are the trials' numbers.

    Pods are found by our labels, where the job has their templates, and by the kind's own label
    with the job's name, where its controllers make other ones. No selector says "either".

    Args:
        api: Requests in the namespace.
        jobs_path: The path of the jobs.
        identity: The namespace, experiment and run.
        shape: The pods that the trialSpec describes.
        kind: The jobs' kind.
        labels: The primaryPodLabels, by which pods are found of a kind that is not known.
        number_in: Returns the trial's number in the name of a job, or of its pod; None: none.

    Attributes:
        all: The watch of jobs first, then those of pods.
    """

    def __init__(
        self,
        api: Api,
        jobs_path: str,
        identity: Identity,
        shape: Shape,
        kind: JobKind,
        labels: Mapping[str, str],
        number_in: Callable[[str], str | None],
    ) -> None:
        self._api = api
        self._identity = identity
        self._shape = shape
        self._kind = kind
        self._number_in = number_in
        self._over: set[str] = set()
        running = {"labelSelector": f"{selector_of(identity.labels)},!{STATE}"}
        jobs = Watch(api, jobs_path, running, _number_of, lambda body: body, self._over)
        self._pods = tuple(self._watches_of_pods(labels))
        self.all: tuple[Watch[Any], ...] = (jobs, *self._pods)

    def _watches_of_pods(self, labels: Mapping[str, str]) -> Iterator[Watch[Pod]]:
        path = self._api.path("v1", "pods")

        def pods(selector: str, key: Callable[[str, Mapping[str, str]], str | None]) -> Watch[Pod]:
            query = {"labelSelector": selector} if selector else {}
            return Watch(self._api, path, query, key, read_pod, self._over)

        def by_job_name(name: str, pod_labels: Mapping[str, str]) -> str | None:
            job = pod_labels.get(self._kind.name_label, "") if self._kind.name_label else name
            return self._number_in(job)

        if self._shape.labelled:
            yield pods(selector_of(self._identity.labels), _number_of)
        if self._kind.name_label:
            yield pods(self._kind.name_label, by_job_name)
        elif not self._shape.labelled:  # of the kind nothing is known but what the file says
            yield pods(selector_of(labels), by_job_name)

    @contextmanager
    def subscribed(self, trial: int, listener: Callable[[Any], None]) -> Iterator[None]:
        """Calls ``listener`` with a trial's objects, and their changes, in a ``with`` block."""
        key = str(trial)
        self._over.discard(key)
        with ExitStack() as subscriptions:
            for watch in self.all:
                subscriptions.callback(watch.subscribe(key, listener))
            yield

    def release(self, trial: int) -> None:
        """Forgets the job and the pods of a trial that is over, also those that stay."""
        self._over.add(str(trial))
        for watch in self.all:
            watch.release(str(trial))

    def pods_now(self, trial: Trial) -> Mapping[str, Pod]:
        """Returns a trial's pods as the API server has them now, by name."""
        own, *by_name = self.pod_selectors(trial)
        selectors = [own, *by_name] if self._shape.labelled else by_name or [""]
        found: dict[str, Pod] = {}
        for watch, selector in zip(self._pods, selectors, strict=True):
            found.update(watch.look(str(trial.number), selector))
        return found

    def pod_selectors(self, trial: Trial) -> list[str]:
        """Returns label selectors of a trial's pods: by our labels, and by the kind's own."""
        own = selector_of({**self._identity.labels, TRIAL: str(trial.number)})
        return [own, f"{self._kind.name_label}={trial.job}"] if self._kind.name_label else [own]

    def close(self) -> None:
        """Ends the watches."""
        for watch in self.all:
            watch.close()


def selector_of(labels: Mapping[str, str]) -> str:
    """Returns the label selector for objects with all these labels."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _number_of(name: str, labels: Mapping[str, str]) -> str | None:
    return labels.get(TRIAL)
