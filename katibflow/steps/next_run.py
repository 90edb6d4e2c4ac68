"""Starts the run that goes on with a study which one run of the layout `rounds` cannot hold.

The next run is of the same pipeline and version, KFP experiment and service account, with the same
parameters; its ``resume`` names the runs whose trials the study has, and its ``furtherRuns`` is one
less. It is found again by its name, so that a step that runs twice starts one run. Whatever stands
in the way is told, with what a user can do; it fails no run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from katibflow.errors import KatibflowError, RunnerError
from katibflow.experiment.further_runs import further_runs_of
from katibflow.runners.backends import backend_of_steps
from katibflow.steps.kfp_service import KfpService, service_of_step
from katibflow.steps.rounds import by_hand
from katibflow.study.history import History
from katibflow.study.resume import CHANGED, runs_in

__all__ = ["goes_on_from", "next_name", "next_parameters", "next_run", "started"]

RESUME, MOST, FURTHER = "resume", "maxTrialCount", "furtherRuns"
_NUMBERED = re.compile(r"(.+)-run(\d+)")


def next_run(history: History) -> str:
    """Returns how the study goes on, after the next run was started, if there may be one.

    Args:
        history: The study at the end of its run, whose rounds are used up.
    """
    if not further_runs_of(history.experiment):
        return f"{by_hand(history)}; with --further-runs N a run starts up to N more by itself"
    try:
        run = backend_of_steps().pipeline_run()
        if run is None:
            raise RunnerError("this step is none of Kubeflow Pipelines")
        made = started(service_of_step(), run, history)
    except KatibflowError as error:
        return f"the next run could not be started from here ({error}); {by_hand(history)}"
    name, run_id = made["display_name"], made["run_id"]
    return f"the study goes on in the run {name}, {run_id}: #/runs/details/{run_id}"


def started(service: KfpService, run_id: str, history: History) -> Mapping[str, Any]:
    """Returns the next run, started here unless it is there already.

    Args:
        service: The installation that has the run.
        run_id: KFP's id of the run that is over.
        history: Its study.

    Raises:
        RunnerError: It cannot be started.
    """
    run = service.read(f"runs/{run_id}")
    name = next_name(run["display_name"])
    found = _found(service, run, name, history)
    if found is not None:
        return found
    _check_parameters(service, run)
    body = {
        key: run[key]
        for key in ("experiment_id", "pipeline_spec", "pipeline_version_reference")
        if run.get(key)
    }
    body |= {
        "display_name": name,
        "description": f"goes on with the study of {run['display_name']}, {run_id}",
        "service_account": run.get("service_account", ""),
        "runtime_config": {
            **(run.get("runtime_config") or {}),
            "parameters": next_parameters(_parameters(run), history),
        },
    }
    try:
        return service.create("runs", body)
    except RunnerError:
        made = _found(service, run, name, history)  # it may be there, and its answer was lost
        if made is None:
            raise
        return made


def _found(
    service: KfpService, run: Mapping[str, Any], name: str, history: History
) -> Mapping[str, Any] | None:
    """Returns the run that goes on with a study, if there is one."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    query = {
        "experiment_id": run["experiment_id"],
        "filter": json.dumps({"predicates": [predicate]}),
        "sort_by": "created_at desc",
        "page_size": "50",
    }
    for each in service.read("runs", query).get("runs") or ():
        if goes_on_from(_parameters(each), history.run):
            return dict(each)
    return None


def _parameters(run: Mapping[str, Any]) -> Mapping[str, str]:
    return (run.get("runtime_config") or {}).get("parameters") or {}


def goes_on_from(given: Mapping[str, object], run: str) -> bool:
    """Returns whether a run with these parameters goes on with another one's trials.

    Args:
        given: The parameters.
        run: katibflow's id of the other run.
    """
    ids = str(given.get(RESUME, "")).partition("+")[0].split(",")
    return ids[-1] == run


def next_name(name: str) -> str:
    """Returns the name of the run after one: ``mnist-run2`` after ``mnist``, then ``-run3``."""
    match = _NUMBERED.fullmatch(name)
    return f"{match[1]}-run{int(match[2]) + 1}" if match else f"{name}-run2"


def next_parameters(given: Mapping[str, str], history: History) -> dict[str, str]:
    """Returns the parameters of the next run.

    Args:
        given: The parameters of the run that is over, as far as they were given.
        history: Its study.
    """
    kept = CHANGED if str(given.get(RESUME, "")).lower().endswith(CHANGED) else ""
    changed = {
        RESUME: ",".join(runs_in(history)) + kept,
        FURTHER: str(further_runs_of(history.experiment) - 1),
    }
    most = history.experiment.spec.max_trial_count
    if str(given.get(MOST, "")).strip().startswith("+") and most is not None:
        changed[MOST] = str(most)  # it counted from the trials at the beginning
    return {**given, **changed}


def _check_parameters(service: KfpService, run: Mapping[str, Any]) -> None:
    """Checks that the run is one of an Experiment alone, which takes these parameters."""
    spec = run.get("pipeline_spec")
    if not spec:
        ids = run["pipeline_version_reference"]
        path = f"pipelines/{ids['pipeline_id']}/versions/{ids['pipeline_version_id']}"
        spec = service.read(path).get("pipeline_spec") or {}
    spec = spec.get("pipeline_spec", spec)
    known = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    if not {RESUME, FURTHER} <= known.keys():
        raise RunnerError(
            f"the Experiment is a part of the pipeline of {run['display_name']}, which has no "
            f"parameters {RESUME} and {FURTHER}"
        )
