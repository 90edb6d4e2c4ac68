"""Assigns the GPUs of this machine to trials, so that no two trials use the same one.

A template asks for them as in a cluster, by ``nvidia.com/gpu`` or ``amd.com/gpu`` among its
container's resources. A trial sees its own by a variable that CUDA or HIP reads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.job_kinds import PodTemplate, pod_templates

__all__ = [
    "GPU_KINDS",
    "GpuKind",
    "Gpus",
    "Pool",
    "count_of",
    "gpu_faults",
    "gpus_here",
    "per_trial",
]

_KFD = Path("/sys/class/kfd/kfd/topology/nodes")


@dataclass(frozen=True)
class GpuKind:
    """A make of GPUs: its resource in Kubernetes, and the variable that selects devices."""

    resource: str
    variable: str
    find: Callable[[], Sequence[str]]


def _nvidia() -> list[str]:
    """Returns the numbers of NVIDIA's GPUs, if the package nvidia-ml-py is installed."""
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, or no device
        return []
    try:
        return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _amd(nodes: Path = _KFD) -> list[str]:
    """Returns the numbers of AMD's GPUs, which the kernel lists; a processor has the id 0."""
    found = 0
    for file in nodes.glob("*/gpu_id"):
        with suppress(OSError):
            found += file.read_text(encoding="utf-8").strip() not in ("", "0")
    return [str(number) for number in range(found)]


GPU_KINDS: tuple[GpuKind, ...] = (
    GpuKind("nvidia.com/gpu", "CUDA_VISIBLE_DEVICES", _nvidia),
    GpuKind("amd.com/gpu", "HIP_VISIBLE_DEVICES", _amd),
)
"""The makes of GPUs that trials may ask for."""


@dataclass(frozen=True)
class Gpus:
    """The GPUs that trials share.

    Attributes:
        kind: Their make.
        ids: What the kind's variable names them by.
        each: How many a trial takes.
    """

    kind: GpuKind
    ids: tuple[str, ...]
    each: int

    @property
    def at_once(self) -> int | None:
        """How many trials fit side by side; None if there are none and trials run without."""
        return len(self.ids) // self.each if self.ids else None

    def note(self, wanted: int) -> str:
        """Returns what the user is told.

        Args:
            wanted: The Experiment's number of trials at a time.
        """
        resource = f"{self.kind.resource}: {self.each} a trial"
        if not self.ids:
            return (
                f"{resource}, and none is found here, so trials run without; --gpus N (gpus=N) "
                "says how many there are, and nvidia-ml-py finds NVIDIA's"
            )
        listed = ", ".join(self.ids)
        limit = min(wanted, self.at_once or wanted)
        fewer = f" ({wanted} are asked for)" if limit < wanted else ""
        return f"{resource} of {listed}, by {self.kind.variable}: {limit} at a time{fewer}"


def gpus_here(
    manifest: Mapping[str, Any], given: int | None, around: Mapping[str, str] = os.environ
) -> Gpus | None:
    """Returns the GPUs that the trials of a job may use, or None if it asks for none.

    Those that the caller's own variable names are all that there are.

    Args:
        manifest: The job.
        given: The number of GPUs that the user gives, in place of those that are found.
        around: The caller's environment.
    """
    for kind in GPU_KINDS:
        each = per_trial(manifest, kind)
        if not each:
            continue
        visible = around.get(kind.variable)
        if visible is None:
            ids = list(kind.find()) if given is None else [str(number) for number in range(given)]
        else:
            ids = [text.strip() for text in visible.split(",")]
            ids = [text for text in ids if text and not text.startswith("-")]
            ids = ids if given is None else ids[:given]
        return Gpus(kind, tuple(ids), each)
    return None


def per_trial(manifest: Mapping[str, Any], kind: GpuKind) -> int:
    """Returns how many GPUs of a kind the pods of a job that run side by side take."""
    return sum(_count(pod, kind) * _side_by_side(pod, manifest) for pod in pod_templates(manifest))


def _side_by_side(pod: PodTemplate, manifest: Mapping[str, Any]) -> int:
    if manifest.get("kind") != "Job":
        return pod.replicas
    spec = manifest.get("spec")
    number = spec.get("parallelism") if isinstance(spec, Mapping) else None
    return number if isinstance(number, int) and number > 0 else 1


def _count(pod: PodTemplate, kind: GpuKind) -> int:
    spec = pod.template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    return sum(
        count_of(container, kind)
        for container in (containers if isinstance(containers, list) else ())
        if isinstance(container, Mapping)
    )


def count_of(container: Mapping[str, Any], kind: GpuKind) -> int:
    """Returns how many GPUs of a kind a container asks for."""
    resources = container.get("resources")
    for key in ("limits", "requests"):
        amounts = resources.get(key) if isinstance(resources, Mapping) else None
        amount = amounts.get(kind.resource) if isinstance(amounts, Mapping) else None
        with suppress(TypeError, ValueError):
            return max(0, int(str(amount)))
    return 0


def gpu_faults(gpus: Gpus | None) -> Iterator[Fault]:
    """Yields a fault if one trial asks for more GPUs than there are."""
    if gpus is not None and gpus.ids and gpus.each > len(gpus.ids):
        yield Fault(
            f"spec.trialTemplate.trialSpec: {gpus.kind.resource}",
            f"{gpus.each} for one trial",
            f"at most {len(gpus.ids)}, as {', '.join(gpus.ids)} are here; or --gpus N (gpus=N), "
            "if there are others; 0: run without",
        )


class Pool:
    """Hands GPUs out to trials, for any thread.

    Args:
        ids: The GPUs.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = tuple(ids)
        self._taken: dict[int, tuple[str, ...]] = {}
        self._change = threading.Condition()

    def reserve(self, trial: int, ids: Sequence[str]) -> None:
        """Gives a trial of an earlier process the GPUs that it had, which it may still use."""
        with self._change:
            self._taken.setdefault(trial, tuple(ids))

    @contextmanager
    def lent(
        self, trial: int, number: int, is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, ...]]:
        """Lends a trial GPUs until its block ends, and waits for them if others have them.

        Args:
            trial: The trial's number.
            number: How many it takes.
            is_over: Returns whether to wait no longer; the trial gets none then.
        """
        with self._change:
            if len(self._taken.get(trial, ())) != number:
                self._taken.pop(trial, None)
                while len(free := self._free()) < number and not is_over():
                    self._change.wait()
                self._taken[trial] = tuple(free[:number])
            ids = self._taken.get(trial, ())
        try:
            yield ids
        finally:
            with self._change:
                self._taken.pop(trial, None)
                self._change.notify_all()

    def wake(self) -> None:
        """Lets those that wait look again whether they should."""
        with self._change:
            self._change.notify_all()

    def _free(self) -> list[str]:
        taken = {each for ids in self._taken.values() for each in ids}
        return [each for each in self._ids if each not in taken]
