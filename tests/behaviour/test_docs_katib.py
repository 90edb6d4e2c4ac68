"""What `docs/katib.md` shows is right, runs, and prints what is shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from katibflow.cli import app
from katibflow.experiment.config_map import source_of, with_template
from katibflow.suggestion.algorithms import ALGORITHMS
from katibflow.validation.rules import check_document
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "katib.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FILES = {
    block.split("\n")[0].removeprefix("# "): block
    for language, block in BLOCKS
    if language == "yaml"
}
CONSOLES = [block for language, block in BLOCKS if language == "console"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_files_belong_together() -> None:
    experiment = yaml.safe_load(FILES["experiment.yaml"])
    maps = yaml.safe_load(FILES["templates.yaml"])
    made = check_document(with_template(experiment, maps, "templates.yaml"), "experiment.yaml")
    assert made.spec.trial_template.trial_spec is not None
    source = source_of(experiment)
    assert source is not None
    role = yaml.safe_load(FILES["role.yaml"])
    (rule,) = role["rules"]
    assert rule["resourceNames"] == [source.name] and rule["verbs"] == ["get"]
    assert role["metadata"]["namespace"] == source.namespace


@pytest.mark.parametrize("block", CONSOLES, ids=lambda block: block.split("\n")[0])
def test_a_command_prints_what_is_shown(folder: Path, block: str) -> None:
    command, *lines = block.rstrip("\n").split("\n")
    program, *arguments = shlex.split(command.removeprefix("$ "))
    assert program == "katibflow"
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    if lines:
        assert [*done.stdout.splitlines(), *done.stderr.splitlines()] == lines


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    heading = "### Checkpoints of `pbt`"
    assert heading in (ROOT / "docs" / "search.md").read_text(encoding="utf-8")


def test_every_algorithm_of_katib_is_known() -> None:
    wanted = "random grid tpe multivariate-tpe bayesianoptimization cmaes sobol hyperband pbt"
    assert {*wanted.split()} <= {*ALGORITHMS}
