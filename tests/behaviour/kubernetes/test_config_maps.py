"""Tests trial templates in ConfigMaps: from a file, from a cluster, and their errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.compiler.emit import compile_experiment
from katibflow.errors import InputError, RunnerError
from katibflow.runners.kubernetes.config_maps import map_in_cluster
from katibflow.validation.reading import map_in_file, read_experiment
from tests.samples import ABSENT, JOB, changed

SOURCE = {"configMapName": "templates", "configMapNamespace": "team", "templatePath": "job.yaml"}
TEMPLATE = "spec.trialTemplate"


def document(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    given = {f"{TEMPLATE}.trialSpec": ABSENT, f"{TEMPLATE}.configMap": SOURCE}
    return changed({**given, **(changes or {})})


def config_map(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "templates", "namespace": "team"},
        "data": {"job.yaml": yaml.safe_dump(JOB), "other.yaml": "a: 1"},
        **more,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(document()))
    return path


def read(file: Path, given: Mapping[str, Any]) -> Any:
    path = file.with_name("map.yaml")
    path.write_text(yaml.safe_dump(dict(given)))
    return read_experiment(file, read=map_in_file(path))


def test_the_template_takes_its_place_in_the_experiment(file: Path) -> None:
    made = read(file, config_map())
    assert made.spec.trial_template.trial_spec == JOB
    assert made.spec.trial_template.config_map is None
    assert made == read_experiment_of(changed(), file)


def read_experiment_of(given: Mapping[str, Any], beside: Path) -> Any:
    path = beside.with_name("inline.yaml")
    path.write_text(yaml.safe_dump(dict(given)))
    return read_experiment(path)


def test_a_reference_without_quotes_is_text(file: Path) -> None:
    text = yaml.safe_dump(JOB).replace("spec:", "spec:\n  parallelism: ${trialParameters.lr}", 1)
    spec = read(file, config_map(data={"job.yaml": text})).spec.trial_template.trial_spec
    assert spec["spec"]["parallelism"] == "${trialParameters.lr}"


def test_an_experiment_whose_template_was_not_read_is_not_compiled(file: Path) -> None:
    experiment = read_experiment(file, needs_template=False)
    with pytest.raises(
        InputError, match=r"spec\.trialTemplate: found no trialSpec; allowed: the te"
    ):
        compile_experiment(experiment)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "Secret"}, 'kind: found "Secret"; allowed: ConfigMap templates of namespace'),
        (
            {"metadata": {"name": "x"}},
            'metadata.name: found "x"; allowed: templates, as in spec.trialTemplate.configMap',
        ),
        (
            {"metadata": {"name": "templates", "namespace": "x"}},
            'metadata.namespace: found "x"; allowed: team, as in spec.trialTemplate.configMap',
        ),
        (
            {"data": {"a": "b"}},
            "data: found the keys a; allowed: job.yaml, the templatePath of spec.trialTemplate",
        ),
        ({"data": None}, "data: found the keys none; allowed: job.yaml"),
        ({"data": {"job.yaml": "a: ["}}, "data[job.yaml], line 2, column 1: not YAML"),
        ({"data": {"job.yaml": "[]"}}, "data[job.yaml]: found a list of 0; allowed: one Exp"),
    ],
)
def test_another_config_map_is_refused(
    file: Path, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(file, config_map(**changes))
    assert f"map.yaml: {message}" in str(caught.value)


def test_the_templates_own_faults_are_found(file: Path) -> None:
    text = yaml.safe_dump(JOB).replace("trialParameters.lr", "trialParameters.rate")
    with pytest.raises(InputError, match=r"trialParameters\.rate\}, which resolves to nothing"):
        read(file, config_map(data={"job.yaml": text}))


def test_without_the_map_all_else_is_checked(file: Path, tmp_path: Path) -> None:
    assert read_experiment(file, needs_template=False).spec.trial_template.config_map is not None
    with pytest.raises(InputError, match=r"--config-map FILE"):
        read_experiment(file)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(document({f"{TEMPLATE}.trialParameters.0.reference": "rl"})))
    with pytest.raises(InputError, match=r'found "rl"'):
        read_experiment(wrong, needs_template=False)


@contextmanager
def cluster(
    folder: Path, status: int, body: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Serves one answer as an API server; yields the paths that were requested."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        config = {
            "current-context": "c",
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{"name": "c", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_the_cluster_is_asked_for_the_map(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {key: value for key, value in config_map().items() if key != "kind"}
    with cluster(tmp_path, 200, answer, monkeypatch) as asked:
        made = read_experiment(file, read=map_in_cluster())
    assert made.spec.trial_template.trial_spec == JOB
    assert asked == ["/api/v1/namespaces/team/configmaps/templates"]


def test_a_refusal_says_which_role_would_mend_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'configmaps "templates" is forbidden'
    body = {"kind": "Status", "status": "Failure", "message": said, "code": 403}
    with (
        cluster(tmp_path, 403, body, monkeypatch),
        pytest.raises(RunnerError) as caught,
    ):
        read_experiment(file, read=map_in_cluster())
    text = str(caught.value)
    assert "ConfigMap templates of namespace team cannot be read" in text and said in text
    (rule,) = yaml.safe_load(text.partition("that namespace:\n")[2])
    assert rule == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["templates"],
        "verbs": ["get"],
    }


def test_a_run_here_takes_the_map_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from katibflow.cli import app
    from tests.shell_trials import document as shell_document

    given = shell_document("echo loss=$X", {"spec.maxTrialCount": 2, "spec.parallelTrialCount": 2})
    job = given["spec"]["trialTemplate"].pop("trialSpec")
    given["spec"]["trialTemplate"]["configMap"] = SOURCE
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(given))
    (tmp_path / "map.yaml").write_text(
        yaml.safe_dump(config_map(data={"job.yaml": yaml.safe_dump(job)}))
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "e.yaml", "--config-map", "map.yaml"])
    assert done.exit_code == 0, done.output
    assert "best trial" in done.output
