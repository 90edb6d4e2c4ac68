"""Where a run's trials go, and how long they may take: what a caller's options make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from katibflow.errors import InputError
from katibflow.experiment.timeouts import Limits, limits_of
from katibflow.experiment.types import Experiment
from katibflow.extras import require
from katibflow.runners.base import Runner
from katibflow.study.history import History

__all__ = ["BACKENDS", "Options", "Place", "limits_for", "place_for"]


@dataclass(frozen=True)
class Options:
    """What the user says of a run, beside the Experiment.

    Attributes:
        source: Where the Experiment comes from, for errors.
        on: Where trials run, a key of ``BACKENDS``.
        maps: Of ``--map``: container paths and what stands for them here, as ``CONTAINER=HERE``.
        namespace: Of the jobs; by default the Experiment's, or else the kubeconfig's.
        context: The kubeconfig's; by default the current one.
        resume: Whose trials to begin with, of earlier runs in the cluster: ``all`` or a run's id.
        trial_timeout: Seconds a trial may take; by default the Experiment's, or else no limit.
        trial_start_timeout: Seconds within which its replicas must have started and connected;
            by default the Experiment's, or else 600.
        drain: Whether to let running trials finish when the experiment is over.
        storage: Where an Optuna study mirrors the run: a URL, or a journal's file.
    """

    source: str
    on: str = "local"
    maps: Sequence[str] = ()
    namespace: str | None = None
    context: str | None = None
    resume: str | None = None
    trial_timeout: float | None = None
    trial_start_timeout: float | None = None
    drain: bool = False
    storage: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a run's trials go.

    Attributes:
        runner: Makes the runner of a run, whose folder is given.
        begin: Adds trials of earlier runs to a new history; None when none are wanted.
    """

    runner: Callable[[History, Path], Runner]
    begin: Callable[[History], History] | None = None


def place_for(experiment: Experiment, options: Options) -> Place:
    """Where the options want the trials to run.

    Raises:
        InputError: An option does not fit the place, or the trials cannot run there.
        RunnerError: There is no cluster to be reached.
    """
    if options.on not in BACKENDS:
        raise InputError(f"on: found {options.on}; allowed: {', '.join(BACKENDS)}")
    return BACKENDS[options.on](experiment, options)


def limits_for(experiment: Experiment, options: Options) -> Limits:
    """How long trials may take: as the options say, or else the Experiment's annotations."""
    limits = limits_of(experiment)
    return replace(
        limits,
        trial=options.trial_timeout or limits.trial,
        start=options.trial_start_timeout or limits.start,
    )


def _on_this_machine(experiment: Experiment, options: Options) -> Place:
    """Processes of this machine.

    Raises:
        InputError: An option is of the cluster only, a map is none, or the trials cannot run here.
    """
    from katibflow.runners.local.runner import LocalRunner, check_local, parse_map

    for name in ("namespace", "context", "resume"):
        value = getattr(options, name)
        if value is not None:
            raise InputError(f"--{name}: found {value}; allowed: only with --on kubernetes")
    maps = [parse_map(text) for text in options.maps]
    check_local(experiment, maps, options.source)
    return Place(lambda history, folder: LocalRunner(folder, maps))


def _in_the_cluster(experiment: Experiment, options: Options) -> Place:
    """Jobs of a cluster, by the kubeconfig.

    Raises:
        MissingPackage: Kubernetes's client is not installed.
        InputError: A map is given, or the trials cannot run there.
        RunnerError: There is no cluster to be reached.
    """
    require("kubernetes", "katibflow run --on kubernetes")
    from katibflow.runners.kubernetes.checkpoints import check_checkpoints
    from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
    from katibflow.runners.local.copies import CopyingRunner
    from katibflow.study.resume import NONE, read_resume, search_text, take_over

    if options.maps:
        raise InputError(f"--map: found {options.maps[0]}; allowed: only with --on local")
    check_checkpoints(experiment, options.source)
    resume = read_resume(options.resume or NONE)
    api = connect(options.namespace or experiment.metadata.namespace, options.context)

    def there(run: str) -> KubernetesRunner:
        return KubernetesRunner(
            api,
            experiment=experiment.name,
            run=run,
            template=experiment.spec.trial_template,
            search=search_text(experiment),
        )

    def begin(history: History) -> History:
        earlier = there(history.run).earlier()
        return take_over(options.source, history, resume, earlier)

    there("0" * 8)  # it checks all names and conditions, here before anything is written
    return Place(
        lambda history, folder: CopyingRunner(there(history.run), folder),
        None if resume == NONE else begin,
    )


BACKENDS: Mapping[str, Callable[[Experiment, Options], Place]] = {
    "local": _on_this_machine,
    "kubernetes": _in_the_cluster,
}
"""Names of places: processes of this machine, or jobs of a cluster by the kubeconfig."""
