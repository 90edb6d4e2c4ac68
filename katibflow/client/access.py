"""Finds an installation of Kubeflow Pipelines and logs in; requests to its API are in `api`.

The installation is found by its address, by the ``KF_PIPELINES_*`` variables, from within its
cluster, or through a kubeconfig. KFP's SDK logs in at an address; behind a kubeconfig's API server
requests carry what `read_kubeconfig` finds, since the SDK mends neither its host after a token's
refresh nor its lack of a proxy. This module catches all that the SDK prints.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from katibflow.client.shortening import one_line
from katibflow.errors import InputError, RunnerError
from katibflow.extras import require
from katibflow.runners.kubernetes.kubeconfig import kubeconfig_files, read_kubeconfig
from katibflow.steps.kfp_service import ACCOUNT_TOKEN, ENDPOINT, POD_TOKEN

__all__ = [
    "COOKIES",
    "IAP_CLIENT",
    "SERVICE_PATH",
    "TOKEN",
    "Access",
    "is_by_kubeconfig",
    "is_found",
    "is_given",
    "log_in",
    "own_namespace",
    "pages_of",
    "with_scheme",
]

TOKEN = "KF_PIPELINES_TOKEN"
"""Environment variable with a bearer token."""

COOKIES = "KF_PIPELINES_COOKIES"
"""Environment variable with the cookies of a session, as a browser sends them."""

SERVICE_PATH = "api/v1/namespaces/kubeflow/services/ml-pipeline"
"""Path of Kubeflow Pipelines' service on the API server of its cluster."""

IAP_CLIENT = "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"
"""Environment variable with the client id of Google's Identity-Aware Proxy."""

_PAGES = "KF_PIPELINES_UI_ENDPOINT"
_IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_PROXY_PATH = f"{SERVICE_PATH}:http/proxy"
_INNER = (".svc", ".local", ".internal")  # ends of names inside a cluster or a network
_ENCRYPTED = (443, 8443, 6443)  # usual ports of https
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Access:
    """Says where an installation is and whose runs to use; secrets come from the environment.

    Attributes:
        host: The installation's address; None to take it from the environment or the kubeconfig.
        namespace: The user's namespace, in an installation with users; None for the one that
            KFP's SDK remembers, or else this pod's.
        context: The kubeconfig's context; None for the current one.
        ca_file: File with the certificates of the authorities to trust; None for the usual ones.
    """

    host: str | None = None
    namespace: str | None = None
    context: str | None = None
    ca_file: Path | None = None


def _host_of(access: Access) -> str | None:
    """Returns the address that was given here or in the environment, or None if none was."""
    given = access.host or os.environ.get(ENDPOINT)
    return with_scheme(given) if given else None


def is_given(access: Access) -> bool:
    """Returns whether the user says where Kubeflow Pipelines is, here or in the environment."""
    return _host_of(access) is not None


def is_found(access: Access) -> bool:
    """Returns whether this pod's cluster or a kubeconfig may have Kubeflow Pipelines."""
    return access.context is not None or _POD_NAMESPACE.is_file() or bool(kubeconfig_files())


def is_by_kubeconfig(access: Access) -> bool:
    """Returns whether requests go through the API server of the kubeconfig's cluster."""
    return not is_given(access) and (access.context is not None or not _POD_NAMESPACE.is_file())


def with_scheme(address: str) -> str:
    """Returns an address with its scheme, which people leave out.

    Without one it is https for a name of the Internet, at its usual port; all else is http, as
    what ``kubectl port-forward`` opens: an IP address, another port, a name inside a cluster.
    """
    if "://" in address:
        return address
    place = urlsplit(f"//{address}")
    try:
        name, port = place.hostname or "", place.port
    except ValueError:  # the request says what is wrong with the address
        return f"http://{address}"
    is_local = "." not in name or name.endswith(_INNER) or _is_ip_address(name)
    is_plain = (is_local and port not in _ENCRYPTED) or port not in (None, *_ENCRYPTED)
    return f"{'http' if is_plain else 'https'}://{address}"


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def pages_of(access: Access) -> str:
    """Returns the address of the installation's web pages, or "" if it is not known."""
    return os.environ.get(_PAGES, _host_of(access) or "")


def log_in(access: Access) -> Any:
    """Finds the installation and logs in; sends no request to its API yet.

    Returns:
        KFP's client; its ``runs.api_client`` carries the login.

    Raises:
        MissingPackage: KFP's SDK is not installed.
        InputError: Nothing says where the installation is, or a file is not there.
        RunnerError: The login fails.
    """
    require("kfp", "Kubeflow Pipelines' API")
    if access.ca_file is not None and not access.ca_file.is_file():
        raise InputError(f"--ca-file {access.ca_file}: no such file")
    host = _host_of(access)
    if host is not None:
        return _sdk_client(access, host, _token_file())
    if access.context is None and _POD_NAMESPACE.is_file():
        return _sdk_client(access, _IN_CLUSTER, _token_file(POD_TOKEN))
    if access.context is None and not kubeconfig_files():
        raise InputError(
            "--host: missing, and no kubeconfig leads to Kubeflow Pipelines; allowed: its address, "
            f"as http://localhost:8080, here or in {ENDPOINT}"
        )
    return _through_api_server(access)


def _through_api_server(access: Access) -> Any:
    """Returns KFP's client, whose requests go through the proxy of the kubeconfig's API server."""
    cluster = read_kubeconfig(access.context)
    client = _sdk_client(access, f"{cluster.settings.host}/{_PROXY_PATH}", None)
    api = client.runs.api_client
    api.rest_client.pool_manager = cluster.pool()
    if cluster.authorization() is not None:

        def refresh(settings: Any) -> None:
            settings.api_key["authorization"] = cluster.authorization()

        refresh(api.configuration)
        api.configuration.refresh_api_key_hook = refresh
    return client


def _sdk_client(access: Access, host: str, credentials: Any) -> Any:
    """Returns the SDK's client; shows nothing of what the SDK prints.

    Raises:
        RunnerError: The login fails.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import kfp.client  # type: ignore[import-untyped]
        from kfp_server_api import V2beta1GetHealthzResponse  # type: ignore[import-untyped]

        class Client(kfp.client.Client):  # type: ignore[misc]
            def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
                """Returns an empty answer: the SDK would try for 20 s and print tracebacks."""
                return V2beta1GetHealthzResponse()

        try:
            return Client(
                host=host,
                existing_token=os.environ.get(TOKEN) or None,
                cookies=os.environ.get(COOKIES) or None,
                ssl_ca_cert=str(access.ca_file) if access.ca_file else None,
                credentials=credentials,
            )
        except InputError:
            raise
        except Exception as error:  # the libraries behind the SDK's logins raise errors of any type
            raise RunnerError(f"{host}: the login fails: {one_line(error)}") from error


def _token_file(mounted: Path | None = None) -> Any:
    """Returns credentials that read a token file anew for every request, or None without one.

    Args:
        mounted: The file that is read, if it is there and the environment names no other.

    Raises:
        InputError: There is no such file.
    """
    path = os.environ.get(ACCOUNT_TOKEN)
    if path and not Path(path).is_file():
        raise InputError(f"{ACCOUNT_TOKEN}: found {path}; allowed: a file with a token")
    if not path and (mounted is None or not mounted.is_file()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp.client

    return kfp.client.ServiceAccountTokenVolumeCredentials(path or str(mounted))


def own_namespace() -> str:
    """Returns the namespace of the pod that this process runs in, or "" outside of a pod."""
    return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else ""
