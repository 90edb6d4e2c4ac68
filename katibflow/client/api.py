"""Sends requests to Kubeflow Pipelines' API; implements `base.Pipelines`.

Every request has a time limit. The login is in `access`; `refusals` turns the API client's
exceptions into katibflow's, so none of them leaves this module.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from katibflow.client.access import COOKIES, TOKEN, Access, log_in, own_namespace, pages_of
from katibflow.client.api_server_proxy import unreached
from katibflow.client.base import (
    OVER,
    Cron,
    NotFound,
    Pipelines,
    Run,
    Trigger,
    Unreachable,
    Version,
)
from katibflow.client.refusals import translated
from katibflow.client.tasks import steps_of
from katibflow.errors import InputError, RunnerError

__all__ = ["connect"]

_TIMEOUT = (10.0, 60.0)  # seconds: to connect, and to wait for the next byte of the answer
_PAGE = 100
_EQUALS = "EQUALS"
_STOPPING = "CANCELING"
_ERROR = "error_message"
_NEVER = 1970  # KFP writes 1970 as the end of a step that still runs


def connect(access: Access) -> Pipelines:
    """Logs in to an installation and checks that it is Kubeflow Pipelines.

    Raises:
        InputError: The address is missing or wrong, or the namespace is missing.
        RunnerError: The server does not answer, refuses, or is not Kubeflow Pipelines.
    """
    client = log_in(access)
    from kfp_server_api import HealthzServiceApi  # type: ignore[import-untyped]

    api = client.runs.api_client
    address = api.configuration.host
    try:
        with translated(address):
            health = _call(HealthzServiceApi(api).healthz_service_get_healthz)
    except NotFound as error:
        raise unreached(access, error) from error
    if health.multi_user is None:
        raise RunnerError(
            f"{address}: answers, but not as Kubeflow Pipelines does: a login page, or another "
            f"address; allowed: the address at which /apis/v2beta1/healthz answers with JSON, and "
            f"a token in {TOKEN} or cookies in {COOKIES} if it asks for a login"
        )
    namespace = ""
    if health.multi_user:
        namespace = access.namespace or client.get_user_namespace() or own_namespace()
    if health.multi_user and not namespace:
        raise InputError(
            f"--namespace: missing; allowed: yours, as {address} keeps its users' runs apart"
        )
    return _Pipelines(api, namespace, pages_of(access))


def _call(method: Callable[..., Any], *words: Any, **more: Any) -> Any:
    """Calls a method of KFP's API with a time limit, as a dead connection would block for ever."""
    return method(*words, **more, _request_timeout=_TIMEOUT)


class _Pipelines:
    """Implements `base.Pipelines` with KFP's API.

    Args:
        api: A ``kfp_server_api.ApiClient`` that has logged in.
        namespace: The user's namespace; "" in an installation without users.
        pages: The address of the web pages; "" if it is not known.
    """

    def __init__(self, api: Any, namespace: str, pages: str) -> None:
        import kfp_server_api

        self.namespace = namespace
        self._api = api
        self._address = api.configuration.host
        self._pages = pages
        self._specs: dict[Version, Mapping[str, Any]] = {}
        self._experiments = kfp_server_api.ExperimentServiceApi(api)
        self._pipelines = kfp_server_api.PipelineServiceApi(api)
        self._recurring_runs = kfp_server_api.RecurringRunServiceApi(api)
        self._runs = kfp_server_api.RunServiceApi(api)
        self._uploads = kfp_server_api.PipelineUploadServiceApi(api)

    def upload(self, name: str, version: str, text: str, description: str) -> tuple[Version, bool]:
        with translated(self._address):
            pipeline = self._pipeline_id(name)
            found = _call(
                self._pipelines.pipeline_service_list_pipeline_versions,
                pipeline,
                page_size=_PAGE,
                filter=_name_filter(version),
            )
            for each in found.pipeline_versions or ():
                return Version(pipeline, _required(each.pipeline_version_id)), False
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pipeline.yaml"
                path.write_text(text, encoding="utf-8")
                made = _call(
                    self._uploads.upload_pipeline_version,
                    str(path),
                    name=version,
                    pipelineid=pipeline,
                    description=description,
                )
            return Version(pipeline, _required(made.pipeline_version_id)), True

    def _pipeline_id(self, name: str) -> str:
        """Returns the id of the pipeline of that name; creates one without a version if needed."""
        from kfp_server_api import V2beta1Pipeline

        service = self._pipelines
        found = _call(
            service.pipeline_service_list_pipelines,
            filter=_name_filter(name),
            **self._in_namespace(),
        )
        for each in found.pipelines or ():
            return _required(each.pipeline_id)
        made = V2beta1Pipeline(display_name=name, **self._in_namespace())
        return _required(_call(service.pipeline_service_create_pipeline, made).pipeline_id)

    def _experiment_id(self, name: str) -> str:
        """Returns the id of KFP's experiment of that name; creates the experiment if needed."""
        from kfp_server_api import V2beta1Experiment

        known = [_required(each.experiment_id) for each in self._experiments_named(name)]
        if len(known) > 1:
            raise ValueError(f"Multiple experiments is found with name {name}.")
        if known:
            return known[0]
        made = V2beta1Experiment(display_name=name, **self._in_namespace())
        return _required(
            _call(self._experiments.experiment_service_create_experiment, made).experiment_id
        )

    def _experiments_named(self, name: str) -> Sequence[Any]:
        list_some = self._experiments.experiment_service_list_experiments
        return _call(list_some, filter=_name_filter(name), **self._in_namespace()).experiments or ()

    def _in_namespace(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def start(
        self, experiment: str, name: str, version: Version, parameters: Mapping[str, str]
    ) -> Run:
        from kfp_server_api import V2beta1Run

        with translated(self._address):
            run = V2beta1Run(
                experiment_id=self._experiment_id(experiment),
                display_name=name,
                **_pipeline_fields(version, parameters),
            )
            return _run_of(_call(self._runs.run_service_create_run, run))

    def schedule(
        self,
        experiment: str,
        name: str,
        version: Version,
        parameters: Mapping[str, str],
        trigger: Trigger,
    ) -> str:
        from kfp_server_api import RecurringRunMode, V2beta1RecurringRun

        with translated(self._address):
            run = V2beta1RecurringRun(
                experiment_id=self._experiment_id(experiment),
                display_name=name,
                mode=RecurringRunMode.ENABLE,
                trigger=_trigger_of(trigger),
                no_catchup=True,
                max_concurrency=1,
                **_pipeline_fields(version, parameters),
            )
            create = self._recurring_runs.recurring_run_service_create_recurring_run
            return _required(_call(create, run).recurring_run_id)

    def schedules(self, experiment: str) -> Sequence[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with translated(self._address):
            for kfp_experiment in self._experiments_named(experiment):
                page = partial(
                    self._recurring_runs.recurring_run_service_list_recurring_runs,
                    page_size=_PAGE,
                    experiment_id=_required(kfp_experiment.experiment_id),
                )
                for each in _pages("recurring_runs", page):
                    found.append((_required(each.display_name), _required(each.recurring_run_id)))
        return found

    def run(self, run_id: str) -> Run:
        with translated(self._address):
            return _run_of(_call(self._runs.run_service_get_run, run_id))

    def runs(self, limit: int) -> Sequence[Run]:
        found: list[Run] = []
        page = partial(
            self._runs.run_service_list_runs,
            page_size=min(limit, _PAGE),
            sort_by="created_at desc",
            **self._in_namespace(),
        )
        with translated(self._address):
            for each in _pages("runs", page):
                if len(found) == limit:
                    break
                found.append(_run_of(each))
        return found

    def spec(self, version: Version) -> Mapping[str, Any]:
        if version not in self._specs:
            with translated(self._address):
                found = _call(
                    self._pipelines.pipeline_service_get_pipeline_version,
                    version.pipeline_id,
                    version.version_id,
                )
            self._specs[version] = _mapping(found.pipeline_spec)
        return self._specs[version]

    def namespace_of(self, run: Run) -> str:
        if self.namespace or not run.experiment_id:
            return self.namespace
        with translated(self._address):
            get = self._experiments.experiment_service_get_experiment
            return _call(get, run.experiment_id).namespace or ""

    def workflow(self, run_id: str) -> Mapping[str, Any] | None:
        answer = self._read(f"/apis/v1beta1/runs/{run_id}")
        try:
            runtime = _mapping(_mapping(json.loads(answer or "")).get("pipeline_runtime"))
            return _mapping(json.loads(runtime.get("workflow_manifest") or "")) or None
        except (TypeError, ValueError):
            return None

    def log(self, run_id: str, pod: str) -> str | None:
        text = self._read(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
        try:  # an error comes with status 200
            is_error = _ERROR in _mapping(json.loads(text or ""))
        except ValueError:
            is_error = False
        return None if is_error else text

    def _read(self, path: str) -> str | None:
        """Returns the answer at a path that the API's client does not know, or None without one."""
        try:
            with translated(self._address):
                _call(self._api.call_api, path, "GET", auth_settings=["Bearer"])
                answer = self._api.last_response
                is_page = str(answer.getheader("content-type")).startswith("text/html")
                return None if is_page else str(answer.data)
        except Unreachable:
            raise
        except RunnerError:
            return None

    def stop(self, run_id: str) -> None:
        with translated(self._address):
            _call(self._runs.run_service_terminate_run, run_id)

    def link(self, path: str) -> str:
        pages = self._pages
        if not pages:
            return ""
        has_scheme = pages.startswith(("http://", "https://"))
        return f"{pages if has_scheme else f'http://{pages}'}/#/{path}"


def _pipeline_fields(version: Version, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Returns the fields that name the pipeline, for a run and for a recurring run."""
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1RuntimeConfig

    return {
        "pipeline_version_reference": V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        ),
        "runtime_config": V2beta1RuntimeConfig(parameters=dict(parameters)),
    }


def _trigger_of(trigger: Trigger) -> Any:
    from kfp_server_api import V2beta1CronSchedule, V2beta1PeriodicSchedule, V2beta1Trigger

    if isinstance(trigger, Cron):
        return V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=trigger.expression))
    every = V2beta1PeriodicSchedule(interval_second=trigger.seconds)
    return V2beta1Trigger(periodic_schedule=every)


def _name_filter(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _pages(key: str, page: Callable[..., Any]) -> Iterator[Any]:
    token = ""
    while True:
        found = _call(page, page_token=token)
        yield from getattr(found, key) or ()
        token = found.next_page_token or ""
        if not token:
            return


def _required(value: object) -> str:
    """Returns a text that an answer must have; raises ValueError if it is missing."""
    if not isinstance(value, str) or not value:
        raise ValueError("an id or a name is missing")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _run_of(answer: Any) -> Run:
    reference, config = answer.pipeline_version_reference, answer.runtime_config
    version = None
    if reference is not None and reference.pipeline_id and reference.pipeline_version_id:
        version = Version(reference.pipeline_id, reference.pipeline_version_id)
    details = answer.run_details.task_details if answer.run_details is not None else None
    if answer.created_at is None:
        raise ValueError("the time of a run's creation is missing")
    return Run(
        run_id=_required(answer.run_id),
        name=_required(answer.display_name),
        state=answer.state or "PENDING",
        created=answer.created_at,
        version=version,
        spec=_mapping(answer.pipeline_spec) or None,
        parameters=dict((config.parameters if config is not None else None) or {}),
        steps=steps_of(details or ()),
        error=" ".join(((answer.error.message if answer.error else "") or "").split()),
        experiment_id=answer.experiment_id or "",
        changed=max(
            (
                time
                for task in details or ()
                for time in (task.start_time, task.end_time)
                if time is not None and time.year > _NEVER
            ),
            default=None,
        ),
        is_stopped=_is_stopped(answer),
    )


def _is_stopped(answer: Any) -> bool:
    """Returns whether a run is being terminated, or ended so; a retried run is not any more."""
    states = [each.state for each in answer.state_history or () if each.state]
    if answer.state in OVER and states[-1:] == [answer.state]:
        states.pop()
    return answer.state == _STOPPING or states[-1:] == [_STOPPING]
