"""How an installation is found, who may use it, and what is said when it cannot be used."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import NotFound, Unreachable
from katibflow.errors import InputError, RunnerError
from tests.doubles.kfp.lab import experiment_file, katibflow
from tests.doubles.kfp.server import KfpServer
from tests.doubles.kubernetes.lab import Lab
from tests.warm import client as warm

PAGE = "<!DOCTYPE html><html><title>Log in to Dex</title></html>"
SECRET = "a-secret-that-is-told-to-nobody"


def test_the_address_may_come_from_the_environment(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.url)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example.com/pipeline")
    pipelines = connect(Access())
    assert pipelines.link("runs/details/1") == (
        "https://kubeflow.example.com/pipeline/#/runs/details/1"
    )


def test_the_address_may_have_a_path(kfp_server: KfpServer) -> None:
    kfp_server.prefix = "/pipeline"
    assert connect(Access(kfp_server.url + "/")).runs(5) == []


def in_a_process_of_its_own(*words: str) -> subprocess.CompletedProcess[str]:
    """Kubernetes's client reads ``KUBECONFIG`` once."""
    return warm.run(*words)


def test_a_kubeconfig_leads_there_through_the_api_server(cluster: Lab) -> None:
    done = in_a_process_of_its_own("list", "--on", "kfp", "--context", "test")
    assert done.returncode == 1
    place = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
    assert done.stderr.startswith(f"{cluster.server.url}{place}")
    service = {"metadata": {"name": "ml-pipeline"}, "spec": {"ports": [{"port": 8888}]}}
    cluster.server.put("services", service, "ADDED")
    resources = ["services", "services/proxy"]
    cluster.server.rules = [{"apiGroups": [""], "resources": resources, "verbs": ["get"]}]
    listed = in_a_process_of_its_own("list")  # nobody says where, and it is told all the same
    assert listed.stderr.startswith("runs in Kubeflow Pipelines cannot be listed: http")
    line = listed.stderr.splitlines()[0]
    assert "the cluster has that service, and the proxy of its API server does not lead" in line


def test_nothing_that_says_where_is_one_error() -> None:
    done = in_a_process_of_its_own("list", "--on", "kfp")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "--host: missing, and no kubeconfig leads to Kubeflow Pipelines; allowed: its address, as "
        "http://localhost:8080, here or in KF_PIPELINES_ENDPOINT\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "secret"),
    [
        ("KF_PIPELINES_TOKEN", SECRET, f"Bearer {SECRET}"),
        ("KF_PIPELINES_COOKIES", f"authservice_session={SECRET}", f"authservice_session={SECRET}"),
        ("KF_PIPELINES_SA_TOKEN_PATH", "FILE", f"Bearer {SECRET}"),
    ],
)
def test_secrets_come_from_the_environment_and_are_not_shown(
    kfp_server: KfpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    secret: str,
) -> None:
    kfp_server.secret = secret
    refused = katibflow("list", "--host", kfp_server.url)
    assert refused.code == 1
    assert refused.err.startswith(f"{kfp_server.url} answers 401: Unauthorized; allowed: a token")
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv(variable, str(tmp_path / "token") if value == "FILE" else value)
    done = katibflow("list", "--host", kfp_server.url)
    assert done.code == 0, done.err
    kfp_server.secret = "another by now"
    refused = katibflow("list", "--host", kfp_server.url)
    assert refused.code == 1
    assert SECRET not in done.out + done.err + refused.out + refused.err


def test_a_token_file_that_is_not_there(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", "/absent/token")
    done = katibflow("list", "--host", kfp_server.url)
    assert done.code == 2
    assert (
        done.err
        == "KF_PIPELINES_SA_TOKEN_PATH: found /absent/token; allowed: a file with a token\n"
    )


def test_a_login_at_google_that_fails_is_one_error(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_IAP_OAUTH2_CLIENT_ID", "some-client")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/absent/key.json")
    done = katibflow("list", "--host", kfp_server.url)
    assert done.code == 1
    assert done.err.startswith(f"{kfp_server.url}: the login fails: File /absent/key.json")
    assert done.err.count("\n") == 1
    assert kfp_server.requests == []


def test_an_installation_with_users_wants_a_namespace(kfp_server: KfpServer) -> None:
    kfp_server.users = True
    with pytest.raises(InputError, match=r"^--namespace: missing; allowed: yours"):
        connect(Access(kfp_server.url))
    pipelines = connect(Access(kfp_server.url, namespace="alice"))
    version, is_new = pipelines.upload("p", "v", "root: {inputDefinitions: {parameters: {}}}", "")
    assert is_new
    run = pipelines.start("mine", "first", version, {})
    assert [each.run_id for each in pipelines.runs(5)] == [run.run_id]
    assert pipelines.namespace_of(run) == "alice"
    (experiment,) = kfp_server.experiments.values()
    (pipeline,) = kfp_server.pipelines.values()
    assert experiment["namespace"] == pipeline["namespace"] == "alice"
    other = connect(Access(kfp_server.url, namespace="bob"))
    assert other.runs(5) == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "error", "said"),
    [
        (401, "Unauthorized", "text/plain", RunnerError, "answers 401: Unauthorized; allowed: a"),
        (
            403,
            '{"error":"x","code":7,"message":"User alice is not authorized","details":[]}',
            "application/json",
            RunnerError,
            "answers 403: User alice is not authorized; the account needs",
        ),
        (404, PAGE, "text/html", NotFound, "answers 404: a web page"),
        (
            500,
            '{"message":"database is gone"}',
            "application/json",
            Unreachable,
            "database is gone",
        ),
        (503, "upstream connect error", "text/plain", Unreachable, "upstream connect error"),
        (200, PAGE, "text/html", RunnerError, "not as Kubeflow Pipelines does: a login page"),
        (200, "[]", "application/json", RunnerError, "not as Kubeflow Pipelines does"),
        (
            200,
            "\xff\xfe",
            "text/html; charset=latin-9",
            RunnerError,
            "an answer that cannot be used",
        ),
    ],
)
def test_a_wrong_answer_is_said_in_one_sentence(
    kfp_server: KfpServer, status: int, body: str, kind: str, error: type[Exception], said: str
) -> None:
    kfp_server.fail(lambda *_: True, status, body=body, content_type=kind, times=9)
    with pytest.raises(error) as raised:
        connect(Access(kfp_server.url))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "body"),
    [("runs", '{"runs":[{"run_id":""}]}'), ("runs", '{"runs":[{"created_at":"long ago"}]}')],
)
def test_an_answer_that_is_not_as_documented_is_an_error(
    kfp_server: KfpServer, path: str, body: str
) -> None:
    pipelines = connect(Access(kfp_server.url))
    kfp_server.fail(lambda method, where: where.endswith(path), 200, body=body)
    with pytest.raises(RunnerError, match="an answer that cannot be used"):
        pipelines.runs(5)


def test_a_page_instead_of_an_upload_s_answer_is_an_error(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    file = experiment_file(tmp_path)
    kfp_server.fail(lambda method, path: path.endswith("upload_version"), 200, body=PAGE)
    done = katibflow("submit", str(file), "--host", kfp_server.url, "--image", "python:x")
    assert done.code == 1
    assert "an answer that cannot be used: an id or a name is missing" in done.err
    assert kfp_server.runs == {}


def test_what_the_sdk_itself_refuses_is_said_too(kfp_server: KfpServer, tmp_path: Path) -> None:
    for _ in range(2):
        made = {"experiment_id": str(uuid.uuid4()), "display_name": "sample"}
        kfp_server.experiments[made["experiment_id"]] = made
    file = experiment_file(tmp_path)
    done = katibflow("submit", str(file), "--host", kfp_server.url, "--image", "python:x")
    assert done.code == 1
    assert "Multiple experiments is found with name sample" in done.err


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(Unreachable) as raised:
            connect(Access(address))
    assert str(raised.value).startswith(f"{address} does not answer: ")
    assert "refused" in str(raised.value)
    assert "object at" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://", "http://:x", "http://a b"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises((InputError, Unreachable)) as raised:
        connect(Access(address))
    assert address in str(raised.value)


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of its own, and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext"
    more = ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"multi_user": false}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Quiet(("localhost", 0), Health)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}", certificate
    server.shutdown()
    server.server_close()


def test_a_certificate_of_an_own_authority(encrypted: tuple[str, Path]) -> None:
    address, certificate = encrypted
    with pytest.raises(RunnerError, match=r"certificate is not trusted.*--ca-file") as raised:
        connect(Access(address))
    assert not isinstance(raised.value, Unreachable)
    assert connect(Access(address, ca_file=certificate)).link("x") == f"{address}/#/x"
