"""Whether a run may go on with the trials of an earlier one: same search space, same objective."""

from __future__ import annotations

from collections.abc import Iterator

from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment import Experiment

__all__ = ["check_resume"]


def check_resume(source: str, new: Experiment, old: Experiment) -> None:
    """Checks that trials of ``old`` count as trials of ``new``.

    The counts, the goal, the algorithm and the template may change; the parameters and what the
    objective measures may not, since the trials could not be compared.

    Args:
        source: Where the new Experiment comes from, for the error.
        new: The Experiment that is to be run.
        old: The one whose trials are on record.

    Raises:
        InvalidExperiment: They differ; every difference is shown, with the old value as allowed.
    """
    differences = tuple(_differences(new, old))
    if differences:
        raise InvalidExperiment(source, differences)


def _differences(new: Experiment, old: Experiment) -> Iterator[Fault]:
    why = f", as the trials on record of {old.name} have it; or another --name"
    before = {parameter.name: parameter for parameter in old.spec.parameters}
    after = {parameter.name: parameter for parameter in new.spec.parameters}
    for index, (name, parameter) in enumerate(after.items()):
        path = f"spec.parameters[{index}]"
        if name not in before:
            yield Fault(path, f'"{name}"', f"only {', '.join(before)}{why}")
            continue
        known = before[name]
        if parameter.type is not known.type:
            yield Fault(f"{path}.parameterType", parameter.type, f"{known.type}{why}")
        space, then = parameter.feasible_space, known.feasible_space
        if space != then:
            found = space.model_dump_json(by_alias=True, exclude_none=True)
            allowed = then.model_dump_json(by_alias=True, exclude_none=True)
            yield Fault(f"{path}.feasibleSpace", found, f"{allowed}{why}")
    for name in before:
        if name not in after:
            yield Fault("spec.parameters", f"no {name}", f"a parameter {name}{why}")
    aim, then_aim = new.spec.objective, old.spec.objective
    metric, then_metric = aim.objective_metric_name, then_aim.objective_metric_name
    if aim.type is not then_aim.type:
        yield Fault("spec.objective.type", aim.type, f"{then_aim.type}{why}")
    if metric != then_metric:
        yield Fault("spec.objective.objectiveMetricName", metric, f"{then_metric}{why}")
    elif aim.strategy(metric) is not then_aim.strategy(metric):
        yield Fault(
            "spec.objective.metricStrategies",
            aim.strategy(metric),
            f"{then_aim.strategy(metric)} for {metric}{why}",
        )
