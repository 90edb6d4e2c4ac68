"""Kubeflow Pipelines behind an API server, through each kind of kubeconfig that kubectl can use."""

from __future__ import annotations

import base64
import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.errors import InputError
from katibflow.runners.kubernetes.api import connect as connect_to_cluster
from tests.doubles.kfp.server import KfpServer
from tests.doubles.tls import NAME, ForwardProxy, Identity

PLACE = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
TOKEN = "the-token"
API = "client.authentication.k8s.io/v1"

Kubeconfig = Callable[..., Path]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def api_server(kfp_server: KfpServer, identity: Identity) -> Iterator[KfpServer]:
    """An API server over TLS, which leads to Kubeflow Pipelines by its proxy."""
    kfp_server.down()
    kfp_server.prefix, kfp_server.tls = PLACE, identity.server(wants_certificate=False)
    kfp_server.up()
    yield kfp_server


@pytest.fixture
def kubeconfig(
    api_server: KfpServer, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Kubeconfig:
    def write(user: dict[str, Any], **cluster: Any) -> Path:
        server = {
            "server": f"https://localhost:{api_server.port}",
            "certificate-authority": str(identity.certificate),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "c", "cluster": server | cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        monkeypatch.setenv("KUBECONFIG", str(path))
        return path

    return write


def plugin(folder: Path, script: str) -> str:
    """A credential plugin beside the kubeconfig, as its command."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return "./plugin"


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": API, "kind": "ExecCredential", "status": status})


def web_token(**claims: Any) -> str:
    parts = ({"alg": "none"}, claims, {})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join(text.decode().rstrip("=") for text in texts)


def oidc(token: str) -> dict[str, Any]:
    config = {"idp-issuer-url": "https://login.example.com", "client-id": "k", "id-token": token}
    return {"auth-provider": {"name": "oidc", "config": config}}


def test_a_client_certificate(
    api_server: KfpServer, kubeconfig: Kubeconfig, identity: Identity
) -> None:
    api_server.down()
    api_server.tls = identity.server(wants_certificate=True)
    api_server.up()
    kubeconfig({"client-certificate": str(identity.certificate), "client-key": str(identity.key)})
    assert connect(Access()).runs(5) == []
    data = (base64.b64encode(file.read_bytes()) for file in (identity.certificate, identity.key))
    certificate, key = (text.decode() for text in data)
    kubeconfig({"client-certificate-data": certificate, "client-key-data": key})
    assert connect(Access()).runs(5) == []


def test_a_token_goes_with_every_request_to_the_same_place(
    api_server: KfpServer, kubeconfig: Kubeconfig
) -> None:
    api_server.secret = f"Bearer {TOKEN}"
    kubeconfig({"token": TOKEN})
    pipelines = connect(Access())
    for _ in range(3):
        assert pipelines.runs(5) == []
    assert len(api_server.requests) == 4


def test_a_token_file_is_read_anew(
    api_server: KfpServer, kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    api_server.secret = f"Bearer {TOKEN}"
    kubeconfig({"tokenFile": "token"})
    pipelines = connect(Access())
    assert pipelines.runs(5) == []
    file.write_text("another\n")
    api_server.secret = "Bearer another"
    assert pipelines.runs(5) == []


def test_a_name_and_a_password(api_server: KfpServer, kubeconfig: Kubeconfig) -> None:
    api_server.secret = "Basic " + base64.b64encode(b"alice:secret").decode()
    kubeconfig({"username": "alice", "password": "secret"})
    assert connect(Access()).runs(5) == []


def test_a_login_by_oidc(api_server: KfpServer, kubeconfig: Kubeconfig) -> None:
    token = web_token(exp=int(time.time()) + 3600)
    api_server.secret = f"Bearer {token}"
    kubeconfig(oidc(token))
    assert connect(Access()).runs(5) == []


def test_a_credential_plugin_is_told_the_cluster_and_runs_again_before_its_token_expires(
    api_server: KfpServer, kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    answer = credential(token=f"{TOKEN}-$N", expirationTimestamp="2000-01-01T00:00:00Z")
    script = f"""
        cd {tmp_path}; echo x >> runs; N=$(wc -l < runs); echo "$KUBERNETES_EXEC_INFO" > told
        cat <<E\n{answer}\nE"""
    spec = {"apiVersion": API, "command": plugin(tmp_path, script), "provideClusterInfo": True}
    kubeconfig({"exec": spec})
    pipelines = connect(Access())
    assert pipelines.runs(5) == []
    used = [request.headers["authorization"] for request in api_server.requests]
    assert len(set(used)) == len(used) > 1
    assert all(text.startswith(f"Bearer {TOKEN}-") for text in used)
    told = json.loads((tmp_path / "told").read_text())["spec"]["cluster"]
    assert told["server"] == f"https://localhost:{api_server.port}"
    assert base64.b64decode(told["certificate-authority-data"]).startswith(b"-----BEGIN")


def test_a_token_that_is_still_good_is_kept(
    api_server: KfpServer, kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    script = f"echo x >> {tmp_path}/runs; echo '{credential(token=TOKEN)}'"
    api_server.secret = f"Bearer {TOKEN}"
    kubeconfig({"exec": {"apiVersion": API, "command": plugin(tmp_path, script)}})
    pipelines = connect(Access())
    assert pipelines.runs(5) == []
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_credential_plugin_may_give_a_certificate(
    api_server: KfpServer, kubeconfig: Kubeconfig, identity: Identity, tmp_path: Path
) -> None:
    api_server.down()
    api_server.tls = identity.server(wants_certificate=True)
    api_server.up()
    answer = credential(
        clientCertificateData=identity.certificate.read_text(),
        clientKeyData=identity.key.read_text(),
    )
    (tmp_path / "answer").write_text(answer)
    script = f"cat {tmp_path}/answer"
    kubeconfig({"exec": {"apiVersion": API, "command": plugin(tmp_path, script)}})
    assert connect(Access()).runs(5) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo log in first >&2; exit 4", "exit code 4: log in first; get it at example.com"),
        ("echo hello", "it printed no ExecCredential with a status"),
        (f"echo '{credential(user='me')}'", "neither a token nor a client certificate"),
    ],
)
def test_a_credential_plugin_that_fails_is_one_sentence(
    api_server: KfpServer, kubeconfig: Kubeconfig, tmp_path: Path, script: str, said: str
) -> None:
    hint = "get it at\nexample.com"
    spec = {"apiVersion": API, "command": plugin(tmp_path, script), "installHint": hint}
    kubeconfig({"exec": spec})
    with pytest.raises(InputError, match=r"credential plugin \./plugin: ") as raised:
        connect(Access())
    assert said in str(raised.value)
    assert api_server.requests == []


def test_a_credential_plugin_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    kubeconfig({"exec": {"apiVersion": API, "command": "gke-absent", "installHint": "get it"}})
    with pytest.raises(InputError, match=r"plugin gke-absent: No such file .*; get it$"):
        connect(Access())


def test_a_server_of_another_name(api_server: KfpServer, kubeconfig: Kubeconfig) -> None:
    address = f"https://127.0.0.1:{api_server.port}"
    kubeconfig({"token": TOKEN}, server=address, **{"tls-server-name": NAME})
    assert connect(Access()).runs(5) == []


def test_a_server_behind_a_proxy(
    api_server: KfpServer, kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    proxy = ForwardProxy(api_server.port)
    more = {"proxy-url": proxy.url, "server": f"https://{NAME}:6443"}
    kubeconfig({"token": TOKEN}, **more)
    api_server.secret = f"Bearer {TOKEN}"
    assert connect(Access()).runs(5) == []
    assert set(proxy.asked) == {f"{NAME}:6443"}
    proxy.down()


def test_a_proxy_that_is_not_for_http(kubeconfig: Kubeconfig) -> None:
    kubeconfig({"token": TOKEN}, **{"proxy-url": "socks5://127.0.0.1:1080"})
    with pytest.raises(InputError, match=r"proxy-url: found socks5://127\.0\.0\.1:1080; allowed"):
        connect(Access())


def test_the_jobs_are_read_the_same_way(api_server: KfpServer, kubeconfig: Kubeconfig) -> None:
    proxy = ForwardProxy(api_server.port)
    more = {"proxy-url": proxy.url, "server": f"https://{NAME}:6443"}
    kubeconfig({"token": TOKEN}, **more)
    api_server.prefix, api_server.secret = "", f"Bearer {TOKEN}"
    api = connect_to_cluster()
    assert api.request("GET", "/apis/v2beta1/healthz")["multi_user"] is False
    proxy.down()
