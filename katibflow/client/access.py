"""Where an installation of Kubeflow Pipelines is, and the login at it, by KFP's SDK.

The SDK finds it by its address, by the ``KF_PIPELINES_*`` variables, from within its cluster, or
through a kubeconfig. Nothing that it prints leaves this module.
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
"""Variable with a bearer token."""

COOKIES = "KF_PIPELINES_COOKIES"
"""Variable with the cookies of a session, as a browser sends them."""

ACCOUNT_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
"""Variable with the path of a file that holds a token."""

IAP_CLIENT = "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"
"""Variable with the client of Google's Identity-Aware Proxy."""

_ENDPOINT = "KF_PIPELINES_ENDPOINT"
_PAGES = "KF_PIPELINES_UI_ENDPOINT"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


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


def _host_of(access: Access) -> str | None:
    """The address that was given, here or in the environment."""
    return access.host or os.environ.get(_ENDPOINT)


def pages_of(access: Access) -> str:
    """The address of the installation's web pages; empty if it is not known."""
    return os.environ.get(_PAGES, _host_of(access) or "")


def log_in(access: Access) -> Any:
    """Lets KFP's SDK find the installation and the way to log in; nothing of it is asked yet.

    Returns:
        The SDK's client, of which ``runs.api_client`` is logged in.

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
            """Nothing yet: the SDK would ask for 20 s, with tracebacks; it is asked later."""
            return V2beta1GetHealthzResponse()

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
            raise RunnerError(f"{place}: the login fails: {one_line(error)}") from error
    if "kube config" in said.getvalue():
        raise InputError(
            "--host: missing, and no kubeconfig leads to Kubeflow Pipelines; allowed: its address, "
            f"as http://localhost:8080, here or in {_ENDPOINT}"
        )
    return client


def _token_file() -> Any:
    """Credentials from a file that is read anew for every request; None if none is named.

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
    """The namespace of the pod that this process runs in; empty elsewhere."""
    return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else ""
