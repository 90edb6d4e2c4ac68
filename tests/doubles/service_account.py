"""What a pod's service account gives a step: where the cluster's API is, a token, a certificate."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.doubles.kubernetes.server import NAMESPACE, ApiServer
from tests.doubles.tls import Identity

__all__ = ["service_account"]


def service_account(folder: Path, server: ApiServer) -> dict[str, str]:
    """Lets steps read a server as pods do; returns their environment."""
    account = folder / "account"
    account.mkdir()
    (account / "namespace").write_text(NAMESPACE, encoding="utf-8")
    (account / "token").write_text("none", encoding="utf-8")
    shutil.copy(_identity().certificate, account / "ca.crt")
    port = server.also_up(_identity().server(wants_certificate=False))
    return {
        "KATIBFLOW_ACCOUNT": str(account),
        "KUBERNETES_SERVICE_HOST": "localhost",
        "KUBERNETES_SERVICE_PORT": str(port),
    }


@cache
def _identity() -> Identity:
    """Returns the one identity of this process, as making one takes a tenth of a second."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Identity.made_in(Path(folder))
