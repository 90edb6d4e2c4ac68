"""What `docs/report.md` shows runs, after the warm start that `docs/search.md` shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import katibflow
from katibflow.cli import app
from katibflow.runs.running import read_run
from tests.paths import ROOT
from tests.shell_trials import document

OF_NETWORKS = ("examples/enas.yaml", "examples/darts.yaml")
"""Take minutes: tests/e2e/test_architecture_scripts.py."""


def shown(page: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "))
        for block in shown(page, "console")
        for line in block.splitlines()
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_the_commands_and_the_python_of_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    of = document("echo loss=$X", {"spec.algorithm.algorithmName": "tpe", "spec.maxTrialCount": 8})
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(of))
    for program, *arguments in [*commands("search.md"), *commands("report.md")]:
        assert program == "katibflow"
        if arguments[1] in OF_NETWORKS:
            continue
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (arguments, done.output)
    second = read_run(tmp_path / "runs" / "second").history
    assert len(second.warm) == len(second.trials) == 8
    page = (tmp_path / "sample.html").read_text(encoding="utf-8")
    assert "data-refresh" not in page  # the run is over
    (python,) = shown("report.md", "python")
    exec(python, {"katibflow": katibflow})
    assert capsys.readouterr().out.startswith("['history', 'importance'")
