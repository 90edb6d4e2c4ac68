"""What `docs/argo.md` shows runs; so does the README's command for Argo."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from katibflow.study.resume import run_name
from tests.behaviour.kfp.test_docs_kfp import put_mnist_trials
from tests.doubles.kfp.lab import Done, katibflow, put_pod
from tests.doubles.kubernetes.lab import Lab
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "argo.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ katibflow (.*)$", "".join(CONSOLE), re.MULTILINE)
(PYTHON,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
README_S = re.findall(r"^\$ \.venv/bin/katibflow (.*--to argo)$", README, re.MULTILINE)
NAME = "mnist-x7k2p"
QUICK = {"submit": ("--image", "i", "--poll", "0.05"), "compile": ("--image", "i")}


@pytest.fixture
def argo(cluster: Lab) -> Lab:
    """A cluster whose Argo runs every Workflow to its end, with the trials of examples/mnist."""

    def play(body: dict[str, Any]) -> None:
        name, uid = body["metadata"]["name"], body["metadata"]["uid"]
        put_mnist_trials(cluster, uid)
        labels = {"katibflow/run": run_name(uid), "katibflow/trial": "3"}
        put_pod(cluster, f"{name}-trial", labels, ["pytorch"], pytorch=["loss=0.3"])
        step = {"workflows.argoproj.io/workflow": name}
        put_pod(cluster, f"{name}-start-1", step, ["main"], main=["0 trials"])
        cluster.server.patch("workflows", name, {"status": {"phase": "Succeeded"}})

    cluster.server.argo = play
    return cluster


def run(words: str, name: str) -> Done:
    command, *rest = shlex.split(words.replace(NAME, name))
    rest = [str(ROOT / each) if each.startswith("examples/") else each for each in rest]
    return katibflow(command, *rest, *QUICK.get(command, ()))


def test_every_command_of_the_page_does_what_it_says(argo: Lab) -> None:
    name = NAME
    for words in COMMANDS:
        done = run(words, name)
        assert done.code == 0, (words, done.err)
        if "--no-wait" not in words and "--schedule" not in words and words.startswith("submit"):
            assert "best trial: 7, loss=0.21" in done.out
        made = re.search(r"^Workflow (\S+): ", done.out, re.MULTILINE)
        name = made[1] if made else name
    assert {words.split()[0] for words in COMMANDS} >= {
        *("submit", "list", "show", "best", "logs", "stop", "compile"),
    }
    assert [*argo.server.objects["cronworkflows"]] == ["nightly"]


def test_the_page_s_python_runs(argo: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    text = PYTHON.replace("examples/", f"{ROOT}/examples/").replace(".wait()", ".wait(poll=0.05)")
    text = text.replace('="argo"', '="argo", image="i"')
    exec(compile(text, "argo.md", "exec"), {})
    assert "'lr': 0.08" in capsys.readouterr().out


def test_the_readme_s_command_is_the_page_s_first_one() -> None:
    (words,) = README_S
    assert COMMANDS[0].startswith(words)


def test_the_role_of_the_page_is_in_the_file_that_it_names() -> None:
    roles = yaml.safe_load_all((ROOT / "deploy" / "role.yaml").read_text(encoding="utf-8"))
    names = {each["metadata"]["name"] for each in roles}
    assert set(re.findall(r"--role=(\S+)", TEXT)) <= names
