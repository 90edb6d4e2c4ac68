"""The edge to Kubeflow Pipelines: its SDK's client, with errors in katibflow's own words.

The SDK finds the installation: by ``host``, by the ``KF_PIPELINES_*`` variables, from within its
cluster, or through a kubeconfig. No exception of it leaves this module, and nothing it prints.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from katibflow.client.base import (
    Cron,
    NotThere,
    OutOfReach,
    Pipelines,
    Run,
    Step,
    Trigger,
    Version,
)
from katibflow.client.shortening import shortened
from katibflow.errors import InputError, RunnerError

__all__ = ["COOKIES", "TOKEN", "Access", "connect"]

TOKEN = "KF_PIPELINES_TOKEN"
"""Variable with a bearer token."""

COOKIES = "KF_PIPELINES_COOKIES"
"""Variable with the cookies of a session, as a browser sends them."""

_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_ACCOUNT_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
_IAP_CLIENT = "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes of the answer
_PAGE = 100
_EQUALS = "EQUALS"
_NEVER = 1970  # the year in which what goes on has ended, in KFP's answers


@dataclass(frozen=True)
class Access:
    """Where an installation is and how one gets in; secrets come from the environment.

    Attributes:
        host: Its address; None for what the environment or the kubeconfig says.
        namespace: Of an installation with users, the user's; None for the one that KFP's SDK
            remembers, or that this pod is in.
        context: The kubeconfig's context, where one is used.
        ca_file: Certificates of authorities to trust, in place of the usual ones.
    """

    host: str | None = None
    namespace: str | None = None
    context: str | None = None
    ca_file: Path | None = None


def connect(access: Access) -> Pipelines:
    """Connects to an installation and makes sure that it is one.

    Raises:
        InputError: Nothing says where it is, or what says so is wrong.
        RunnerError: It does not answer, refuses, or is none.
    """
    import kfp.client  # type: ignore[import-untyped]
    from kfp_server_api import V2beta1GetHealthzResponse  # type: ignore[import-untyped]

    class Client(kfp.client.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            """Nothing yet: the SDK would ask for 20 s, with tracebacks; it is asked below."""
            return V2beta1GetHealthzResponse()

    host = access.host or os.environ.get(_ENDPOINT)
    if access.ca_file is not None and not access.ca_file.is_file():
        raise InputError(f"--ca-file {access.ca_file}: no such file")
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        try:
            client = Client(
                host=host,
                existing_token=os.environ.get(TOKEN) or None,
                cookies=os.environ.get(COOKIES) or None,
                ssl_ca_cert=str(access.ca_file) if access.ca_file else None,
                kube_context=access.context,
                credentials=_token_file() if host else None,
            )
        except InputError:
            raise
        except Exception as error:  # its ways to log in raise whatever they stand on
            place = host or "Kubeflow Pipelines"
            raise RunnerError(f"{place}: the login fails: {_one_line(error)}") from error
    if "kube config" in said.getvalue():
        raise InputError(
            "--host: missing, and no kubeconfig leads to Kubeflow Pipelines; allowed: its address, "
            f"as http://localhost:8080, here or in {_ENDPOINT}"
        )
    address = client._existing_config.host
    with _translated(address):
        health = client._healthz_api.healthz_service_get_healthz(_request_timeout=_TIMEOUT)
    if health.multi_user is None:
        raise RunnerError(
            f"{address}: answers, but not as Kubeflow Pipelines does: a login page, or another "
            f"address; allowed: the address at which /apis/v2beta1/healthz answers with JSON, and "
            f"a token in {TOKEN} or cookies in {COOKIES} if it asks for a login"
        )
    namespace = ""
    if health.multi_user:
        namespace = access.namespace or client.get_user_namespace() or _own_namespace(client)
    if health.multi_user and not namespace:
        raise InputError(
            f"--namespace: missing; allowed: yours, as {address} keeps its users' runs apart"
        )
    return _Pipelines(client, address, namespace)


def _token_file() -> Any:
    """Credentials from a file that is read anew for every request; None if none is named.

    Raises:
        InputError: There is no such file.
    """
    import kfp.client

    path = os.environ.get(_ACCOUNT_TOKEN)
    if not path:
        return None
    if not Path(path).is_file():
        raise InputError(f"{_ACCOUNT_TOKEN}: found {path}; allowed: a file with a token")
    return kfp.client.ServiceAccountTokenVolumeCredentials(path)


def _own_namespace(client: Any) -> str:
    """The namespace of the pod that this process runs in; empty elsewhere."""
    path = Path(client._NAMESPACE_PATH)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


class _Pipelines:
    """An installation through the SDK's client; see `base.Pipelines`."""

    def __init__(self, client: Any, address: str, namespace: str) -> None:
        self._client = client
        self._address = address
        self.namespace = namespace
        self._specs: dict[Version, Mapping[str, Any]] = {}
        rest = client._run_api.api_client.rest_client
        ask = rest.request

        def ask_for_some_time(*words: Any, **more: Any) -> Any:
            return ask(*words, **{**more, "_request_timeout": _TIMEOUT})

        # The SDK passes no time limit on, and without one a dead connection is waited for for ever.
        rest.request = ask_for_some_time

    def upload(self, name: str, version: str, text: str, description: str) -> tuple[Version, bool]:
        with self._asking():
            pipeline = self._pipeline_id(name)
            found = self._client.list_pipeline_versions(
                pipeline, page_size=_PAGE, filter=_named(version)
            )
            for each in found.pipeline_versions or ():
                return Version(pipeline, _there(each.pipeline_version_id)), False
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pipeline.yaml"
                path.write_text(text, encoding="utf-8")
                made = self._client.upload_pipeline_version(
                    str(path), version, pipeline_id=pipeline, description=description
                )
            return Version(pipeline, _there(made.pipeline_version_id)), True

    def _pipeline_id(self, name: str) -> str:
        """A pipeline of that name, made without a version if there is none."""
        from kfp_server_api import V2beta1Pipeline

        namespace = self.namespace or None
        found = self._client.list_pipelines(filter=_named(name), namespace=namespace)
        for each in found.pipelines or ():
            return _there(each.pipeline_id)
        made = self._client._pipelines_api.pipeline_service_create_pipeline(
            V2beta1Pipeline(display_name=name, namespace=namespace)
        )
        return _there(made.pipeline_id)

    def start(
        self, experiment: str, name: str, version: Version, parameters: Mapping[str, str]
    ) -> Run:
        with self._asking():
            place = self._client.create_experiment(experiment, namespace=self.namespace or None)
            made = self._client.run_pipeline(
                _there(place.experiment_id),
                name,
                params=dict(parameters),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
            )
            return _run_of(made)

    def schedule(
        self,
        experiment: str,
        name: str,
        version: Version,
        parameters: Mapping[str, str],
        trigger: Trigger,
    ) -> str:
        when: dict[str, Any] = (
            {"cron_expression": trigger.expression}
            if isinstance(trigger, Cron)
            else {"interval_second": trigger.seconds}
        )
        with self._asking():
            place = self._client.create_experiment(experiment, namespace=self.namespace or None)
            made = self._client.create_recurring_run(
                _there(place.experiment_id),
                name,
                params=dict(parameters),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                no_catchup=True,
                **when,
            )
            return _there(made.recurring_run_id)

    def schedules(self, experiment: str) -> Sequence[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with self._asking():
            places = self._client.list_experiments(
                filter=_named(experiment), namespace=self.namespace or None
            )
            for place in places.experiments or ():
                page = partial(
                    self._client.list_recurring_runs,
                    page_size=_PAGE,
                    experiment_id=_there(place.experiment_id),
                )
                for each in _pages("recurring_runs", page):
                    found.append((_there(each.display_name), _there(each.recurring_run_id)))
        return found

    def run(self, run_id: str) -> Run:
        with self._asking():
            return _run_of(self._client.get_run(run_id))

    def runs(self, limit: int) -> Sequence[Run]:
        found: list[Run] = []
        page = partial(
            self._client.list_runs,
            page_size=min(limit, _PAGE),
            sort_by="created_at desc",
            namespace=self.namespace or None,
        )
        with self._asking():
            for each in _pages("runs", page):
                if len(found) == limit:
                    break
                found.append(_run_of(each))
        return found

    def spec(self, version: Version) -> Mapping[str, Any]:
        if version not in self._specs:
            with self._asking():
                found = self._client.get_pipeline_version(version.pipeline_id, version.version_id)
            self._specs[version] = _mapping(found.pipeline_spec)
        return self._specs[version]

    def namespace_of(self, run: Run) -> str:
        if self.namespace or not run.experiment_id:
            return self.namespace
        with self._asking():
            return self._client.get_experiment(run.experiment_id).namespace or ""

    def stop(self, run_id: str) -> None:
        with self._asking():
            self._client.terminate_run(run_id)

    def link(self, path: str) -> str:
        prefix = self._client._get_url_prefix()
        return f"{prefix}/#/{path}" if "://" in prefix else ""

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Keeps what the SDK prints to itself, and says its errors in our words."""
        with _translated(self._address), contextlib.redirect_stdout(io.StringIO()):
            yield


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    """Turns every error of the SDK, and of what it stands on, into one of ours."""
    import urllib3
    from kfp_server_api import ApiException, OpenApiException

    try:
        yield
    except ApiException as error:
        raise _refusal(address, error) from error
    except (urllib3.exceptions.LocationParseError, urllib3.exceptions.LocationValueError) as error:
        raise InputError(
            f"--host: found {address}; allowed: an address, as http://localhost:8080"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, urllib3.exceptions.SSLError):
            raise RunnerError(
                f"{address}: its certificate is not trusted: {reason}; allowed: --ca-file with "
                "the certificates of the authority that signed it"
            ) from error
        raise OutOfReach(f"{address} does not answer: {_words(reason)}") from error
    except (OpenApiException, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunnerError(f"{address}: an answer that cannot be used: {error}") from error


def _refusal(address: str, error: Any) -> RunnerError:
    status = int(error.status or 0)
    message = _message(error.body) or str(error.reason or "").strip()
    told = f"{address} answers {status}: {message}"
    match status:
        case 401:
            return RunnerError(
                f"{told}; allowed: a token that is still good in {TOKEN}, the session's cookies in "
                f"{COOKIES}, {_ACCOUNT_TOKEN}, or {_IAP_CLIENT}"
            )
        case 403:
            return RunnerError(f"{told}; the account needs the rights for it in its namespace")
        case 404:
            return NotThere(told)
        case 0:
            return RunnerError(f"{address}: an answer that cannot be used: {message}")
        case 408 | 429:
            return OutOfReach(told)
        case _ if status >= 500:
            return OutOfReach(told)
        case _:
            return RunnerError(told)


def _message(body: object) -> str:
    """The server's own words: of an answer in JSON its message, of others the beginning."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        data = json.loads(text)
        text = str(data.get("message") or data.get("error_message") or data.get("error") or text)
    except (AttributeError, ValueError):
        if "<html" in text[:1000].lower():
            return "a web page"
    return _one_line(text)


def _one_line(text: object) -> str:
    return shortened(" ".join(str(text).split()), 500)


def _words(reason: object) -> str:
    """What is told of a connection that failed, without the objects it names."""
    text = str(reason)
    return text.rpartition(">: ")[2] if ">: " in text else text


def _named(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _pages(key: str, page: Callable[[str], Any]) -> Iterator[Any]:
    token = ""
    while True:
        found = page(token)
        yield from getattr(found, key) or ()
        token = found.next_page_token or ""
        if not token:
            return


def _there(value: object) -> str:
    """A text that an answer must have."""
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
        run_id=_there(answer.run_id),
        name=_there(answer.display_name),
        state=answer.state or "PENDING",
        created=answer.created_at,
        version=version,
        spec=_mapping(answer.pipeline_spec) or None,
        parameters=dict((config.parameters if config is not None else None) or {}),
        steps=tuple(
            Step(task.display_name, task.state or "PENDING")
            for task in details or ()
            if task.display_name
        ),
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
    )
