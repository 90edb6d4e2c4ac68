"""Reads Argo's Workflows from the cluster that a step runs in, before anything is installed.

The compiler puts this function's source before that of each function that calls it, so the function
imports all that it needs, and only what Python comes with.
"""

from typing import Any

__all__ = ["read_workflows"]


def read_workflows(which: str, advice: str) -> "dict[str, Any]":
    """Returns what the cluster's API answers about the Workflows of the step's namespace, as data.

    Args:
        which: What is asked for, behind the path of all of them: a query, or a name.
        advice: What to do where the step's service account may not read that.

    Raises:
        SystemExit: The cluster does not answer with it; says why.
    """
    import json
    import os
    import ssl
    from pathlib import Path
    from urllib import request

    account = os.environ.get("KATIBFLOW_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
    host, port = (os.environ[f"KUBERNETES_SERVICE_{name}"] for name in ("HOST", "PORT"))
    host = f"[{host}]" if ":" in host else host
    token, namespace = (Path(account, name).read_text() for name in ("token", "namespace"))
    url = f"https://{host}:{port}/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"
    asked = request.Request(url + which, headers={"Authorization": f"Bearer {token}"})
    trust = ssl.create_default_context(cafile=f"{account}/ca.crt")
    opener = request.build_opener(request.ProxyHandler({}), request.HTTPSHandler(context=trust))
    try:
        return dict(json.load(opener.open(asked, timeout=60)))
    except OSError as error:
        raise SystemExit(
            f"katibflow: the steps' code, in a Workflow in namespace {namespace}, cannot be read: "
            f"{error}; on 403 {advice}"
        ) from error
