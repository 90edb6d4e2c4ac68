"""Where `katibflow run` runs trials: what its options make of an Experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from katibflow.errors import InputError
from katibflow.experiment import Experiment
from katibflow.history import History
from katibflow.runners.base import Runner

__all__ = ["Options", "Place", "in_the_cluster", "on_this_machine"]


@dataclass(frozen=True)
class Options:
    """What the user says of the place.

    Attributes:
        source: Where the Experiment comes from, for errors.
        maps: Of ``--map``, as texts.
        namespace: Of ``--namespace``.
        context: Of ``--context``.
        resume: Of ``--resume``.
    """

    source: str
    maps: Sequence[str] = ()
    namespace: str | None = None
    context: str | None = None
    resume: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a run's trials go.

    Attributes:
        runner: Makes the runner of a run, whose folder is given.
        begin: Adds trials of earlier runs to a new history; None when none are wanted.
    """

    runner: Callable[[History, Path], Runner]
    begin: Callable[[History], History] | None = None


def on_this_machine(experiment: Experiment, options: Options) -> Place:
    """Processes of this machine.

    Raises:
        InputError: An option is of the cluster only, a map is none, or the trials cannot run here.
    """
    from katibflow.runners.local import LocalRunner, check_local, parse_map

    for name in ("namespace", "context", "resume"):
        value = getattr(options, name)
        if value is not None:
            raise InputError(f"--{name}: found {value}; allowed: only with --on kubernetes")
    maps = [parse_map(text) for text in options.maps]
    check_local(experiment, maps, options.source)
    return Place(lambda history, folder: LocalRunner(folder, maps))


def in_the_cluster(experiment: Experiment, options: Options) -> Place:
    """Jobs of a cluster, by the kubeconfig.

    Raises:
        InputError: A map is given, or the trials cannot run there.
        RunnerError: There is no cluster to be reached.
    """
    from katibflow.resume import NONE, read_resume, search_text, take_over
    from katibflow.runners.kept import KeptRunner
    from katibflow.runners.kubernetes import KubernetesRunner, connect
    from katibflow.runners.kubernetes_checkpoints import check_checkpoints

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
        lambda history, folder: KeptRunner(there(history.run), folder),
        None if resume == NONE else begin,
    )
