"""Compiles an Experiment to a file for one of the engines, for commands and Python alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from katibflow.client.schedules import argo_schedule, trigger_of
from katibflow.compiler.argo.objects import NEWEST, Kind
from katibflow.compiler.emit import Compiled, compile_experiment
from katibflow.compiler.targets import Target, check_options
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment

__all__ = ["ForArgo", "compile_for"]


@dataclass(frozen=True)
class ForArgo:
    """What a user says of a file for Argo; see `compiler.argo.emit.ArgoOptions`.

    Attributes:
        kind: The object, one of `Kind`; None for what fits the schedule.
        schedule: When it starts, as `client.schedules.read_cron` reads it; None for no schedule.
        service_account: The service account of the pods; None for the namespace's.
        has_artifacts: Whether there is an artifact repository that is to be used.
        version: The version of Argo; None for the newest.
    """

    kind: str | None = None
    schedule: str | None = None
    service_account: str | None = None
    has_artifacts: bool = False
    version: str | None = None

    def given(self) -> Mapping[str, object]:
        """Returns the values by option."""
        return {
            "--as": self.kind,
            "--schedule": self.schedule,
            "--service-account": self.service_account,
            "--artifacts": self.has_artifacts,
            "--argo-version": self.version,
        }


def compile_for(
    target: Target,
    experiment: Experiment,
    options: ForArgo,
    *,
    image: str | None,
    package: str | None,
    layout: str,
    source: str,
) -> Compiled:
    """Compiles an Experiment to the text of a file.

    Args:
        target: What runs the file.
        experiment: A checked Experiment.
        options: What concerns Argo alone.
        image: See `compile_experiment`, like the next three.
        package: See there.
        layout: See there.
        source: See there.

    Raises:
        MissingPackage: What the target needs is not installed.
        InputError: An option is wrong, or of another target; or the layout cannot hold the
            experiment.
    """
    check_options(target, options.given(), "--target")
    if target is Target.KFP:
        return compile_experiment(
            experiment, image=image, package=package, layout=layout, source=source
        )
    from katibflow.compiler.argo.emit import ArgoOptions, compile_workflow

    if options.kind is not None and options.kind not in list(Kind):
        raise InputError(f"--as: found {options.kind}; allowed: {', '.join(Kind)}")
    trigger = trigger_of(options.schedule, None)
    made = ArgoOptions(
        None if options.kind is None else Kind(options.kind),
        None if trigger is None else argo_schedule(trigger),
        options.service_account,
        options.has_artifacts,
        options.version or NEWEST,
    )
    return compile_workflow(
        experiment, made, image=image, package=package, layout=layout, source=source
    )
