"""Reads from kubeconfig files how to reach a cluster, as kubectl does.

Kubernetes's client for Python reads certificates, passwords and auth providers. This module adds
what the client lacks: ``proxy-url``; a ``tokenFile`` that is read anew; credential plugins
(``exec``) that are told the cluster, run again before their token expires, and whose failure is an
error.

Source: client-go's ``tools/clientcmd`` and ``plugin/pkg/client/auth/exec``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from katibflow.errors import InputError
from katibflow.runners.kubernetes.credential_plugin import CredentialPlugin

__all__ = ["Access", "kubeconfig_files", "read_kubeconfig"]

_DEFAULT = "~/.kube/config"
_OWN = ("token", "tokenFile", "exec")
_PROXIES = ("http://", "https://")


@dataclass(frozen=True)
class Access:
    """The access to a cluster.

    Attributes:
        settings: A ``kubernetes.client.Configuration``, which keeps its token fresh.
        namespace: The context's namespace; ``default`` if it names none.
    """

    settings: Any
    namespace: str

    def authorization(self) -> str | None:
        """Returns the present value of the header Authorization, or None without one."""
        value = self.settings.get_api_key_with_prefix("authorization")
        return None if value is None else str(value)

    def pool(self) -> Any:
        """Returns a ``urllib3.PoolManager`` with the access's certificates and proxy."""
        from kubernetes.client.rest import RESTClientObject  # type: ignore[import-untyped]

        return RESTClientObject(self.settings).pool_manager


def kubeconfig_files() -> list[Path]:
    """Returns the kubeconfig files that exist, the first with the most weight."""
    names = (os.environ.get("KUBECONFIG") or _DEFAULT).split(os.pathsep)
    paths = [Path(name).expanduser() for name in names if name]
    return [path for path in paths if path.is_file()]


def read_kubeconfig(context: str | None) -> Access:
    """Reads the access to the cluster of a kubeconfig's context.

    Args:
        context: The context; None for the current one.

    Raises:
        InputError: There is no such context, something that it needs is missing, or its credential
            plugin fails.
    """
    import yaml
    from kubernetes.config import ConfigException  # type: ignore[import-untyped]

    try:
        return _read(context)
    except (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"no cluster to run on: {error}; allowed: a kubeconfig (KUBECONFIG or ~/.kube/config) "
            f"with the context {context or 'to use'}, or a pod with a service account"
        ) from error


def _read(context: str | None) -> Access:
    from kubernetes import client  # type: ignore[import-untyped]
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import (  # type: ignore[import-untyped]
        KubeConfigLoader,
        KubeConfigMerger,
    )

    merger = KubeConfigMerger(os.environ.get("KUBECONFIG") or _DEFAULT)
    if merger.config is None:
        raise ConfigException("Invalid kube-config file. No configuration found.")
    # Refreshed tokens are written back to the files, so what is changed here is a copy.
    config = copy.deepcopy(merger.config)
    chosen = config["contexts"].get_with_name(context or config["current-context"])["context"]
    cluster = config["clusters"].get_with_name(chosen["cluster"])["cluster"]
    user = config["users"].get_with_name(chosen.safe_get("user"), safe=True)
    given: Mapping[str, Any] = (user["user"].value if user and "user" in user else {}) or {}
    token = _token_of(given, _folder_of(user), _with_whole_paths(cluster))
    if token is not None:
        for name in _OWN:
            user["user"].value.pop(name, None)
    loader = KubeConfigLoader(
        config_dict=config if token is not None else merger.config,
        active_context=context,
        config_base_path=None,
        config_persister=merger.save_changes,
    )
    settings = client.Configuration()
    loader.load_and_set(settings)
    if token is None and "authorization" in settings.api_key:
        token = _token_of_provider(loader)
    _set_proxy(settings, cluster.safe_get("proxy-url"))
    if isinstance(token, CredentialPlugin) and token.certificate_files:
        settings.cert_file, settings.key_file = token.certificate_files
    elif token is not None:
        _keep_fresh(settings, token)
    return Access(settings, chosen.safe_get("namespace") or "default")


def _folder_of(node: Any) -> Path:
    """Returns the folder of the file that an entry is in; its relative paths begin there."""
    return Path(node.path).resolve().parent if node is not None and node.path else Path()


def _with_whole_paths(cluster: Any) -> dict[str, Any]:
    known = dict(cluster.value)
    if known.get("certificate-authority"):
        file = _folder_of(cluster) / known["certificate-authority"]
        known["certificate-authority"] = str(file)
    return known


def _token_of(
    user: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]
) -> Callable[[], str] | None:
    """Returns what gives the header Authorization; None for a user without a token of its own.

    Args:
        user: The kubeconfig's entry of the user.
        folder: The folder of the file that has the entry.
        cluster: The kubeconfig's entry of the cluster.
    """
    if "exec" in user:
        return CredentialPlugin(user["exec"], folder, cluster)
    if "tokenFile" in user:
        path = folder / user["tokenFile"]
        return lambda: f"Bearer {path.read_text(encoding='utf-8').strip()}"
    header = f"Bearer {user.get('token')}"
    return (lambda: header) if user.get("token") else None


def _token_of_provider(loader: Any) -> Callable[[], str]:
    """Returns what gives the token of an auth provider, which the client refreshes."""
    from kubernetes import client

    def header() -> str:
        settings = client.Configuration()
        loader.load_and_set(settings)
        return str(settings.api_key["authorization"])

    return header


def _keep_fresh(settings: Any, token: Callable[[], str]) -> None:
    """Makes each request with the settings ask for the token, and asks once now."""

    def refresh(used: Any) -> None:
        used.api_key["authorization"] = token()

    refresh(settings)
    settings.refresh_api_key_hook = refresh


def _set_proxy(settings: Any, address: str | None) -> None:
    if not address:
        return
    if not address.startswith(_PROXIES):
        raise InputError(
            f"the kubeconfig's proxy-url: found {address}; allowed: an address with http:// or "
            "https://"
        )
    settings.proxy, settings.no_proxy = address, None
