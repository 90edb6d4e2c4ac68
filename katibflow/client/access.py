"""Finds an installation of Kubeflow Pipelines and logs in; requests to its API are in `api`.

KFP's SDK finds the installation by its address, by the ``KF_PIPELINES_*`` variables, from within
its cluster, or through a kubeconfig. This module catches all that the SDK prints.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from katibflow.client.shortening import one_line
from katibflow.errors import InputError, RunnerError
from katibflow.extras import require

__all__ = [
    "ACCOUNT_TOKEN",
    "COOKIES",
    "IAP_CLIENT",
    "TOKEN",
    "Access",
    "log_in",
    "own_namespace",
    "pages_of",
]

TOKEN = "KF_PIPELINES_TOKEN"
"""Environment variable with a bearer token."""

COOKIES = "KF_PIPELINES_COOKIES"
"""Environment variable with the cookies of a session, as a browser sends them."""

ACCOUNT_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
"""Environment variable with the path of a file that holds a token."""

IAP_CLIENT = "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"
"""Environment variable with the client id of Google's Identity-Aware Proxy."""

_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_PAGES = "KF_PIPELINES_UI_ENDPOINT"
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
    return access.host or os.environ.get(_ENDPOINT)


def pages_of(access: Access) -> str:
    """Returns the address of the installation's web pages, or "" if it is not known."""
    return os.environ.get(_PAGES, _host_of(access) or "")


def log_in(access: Access) -> Any:
    """Lets KFP's SDK find the installation and log in; sends no request to its API yet.

    Returns:
        The SDK's client; its ``runs.api_client`` carries the login.

    Raises:
        MissingPackage: KFP's SDK is not installed.
        InputError: Nothing says where the installation is, or a file is not there.
        RunnerError: The login fails.
    """
    require("kfp", "Kubeflow Pipelines' API")
    import kfp.client  # type: ignore[import-untyped]
    from kfp_server_api import V2beta1GetHealthzResponse  # type: ignore[import-untyped]

    host = _host_of(access)
    if access.ca_file is not None and not access.ca_file.is_file():
        raise InputError(f"--ca-file {access.ca_file}: no such file")

    class Client(kfp.client.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            """Returns an empty answer: the SDK would try for 20 s and print tracebacks."""
            return V2beta1GetHealthzResponse()

    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
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
        except Exception as error:  # the libraries behind the SDK's logins raise errors of any type
            address = host or "Kubeflow Pipelines"
            raise RunnerError(f"{address}: the login fails: {one_line(error)}") from error
    if "kube config" in printed.getvalue():
        raise InputError(
            "--host: missing, and no kubeconfig leads to Kubeflow Pipelines; allowed: its address, "
            f"as http://localhost:8080, here or in {_ENDPOINT}"
        )
    return client


def _token_file() -> Any:
    """Returns credentials that read a token file anew for every request, or None without one.

    Raises:
        InputError: There is no such file.
    """
    import kfp.client

    path = os.environ.get(ACCOUNT_TOKEN)
    if not path:
        return None
    if not Path(path).is_file():
        raise InputError(f"{ACCOUNT_TOKEN}: found {path}; allowed: a file with a token")
    return kfp.client.ServiceAccountTokenVolumeCredentials(path)


def own_namespace() -> str:
    """Returns the namespace of the pod that this process runs in, or "" outside of a pod."""
    return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else ""
