"""What `docs/runs.md` shows runs; references are what the code says; the index has all pages."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from katibflow.cli.app import app
from katibflow.cli.reference import commands_page
from katibflow.validation.reference import experiment_page
from tests.behaviour.cli.test_verbs import ask, put_run
from tests.doubles.kfp.lab import katibflow
from tests.paths import ROOT

__all__ = ["ask"]

DOCS = ROOT / "docs"
TEXT = (DOCS / "runs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line.removeprefix("$ "))
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if "--on kubernetes" not in line  # those are in kubernetes/test_from_another_machine.py
]


@pytest.mark.usefixtures("ask")
def test_the_commands_and_the_code_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    put_run(Path("runs/mnist"), count=4)
    shown = set()
    for program, *words in COMMANDS:
        assert program == "katibflow"
        done = katibflow(*words)
        assert (done.code, done.err) == (0, ""), words
        assert done.out
        shown.add(words[0])
    assert shown == {"list", "show", "best", "logs", "stop", "report"}
    (code,) = (block for language, block in BLOCKS if language == "python")
    exec(compile(code, "docs/runs.md", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert out == ["SUCCEEDED {'lr': 0.4}", "epoch of 3", "loss=1", "['mnist']"]
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)))
    assert {*json.loads(katibflow("show", "mnist", "--json").out)} == {*keys, "history"} - {"front"}


@pytest.mark.parametrize(
    ("page", "made", "command"),
    [
        ("commands.md", lambda: commands_page(app), "katibflow.cli.reference"),
        ("experiment.md", experiment_page, "katibflow.validation.reference"),
    ],
    ids=["commands", "experiment"],
)
def test_a_reference_is_what_the_code_says(page: str, made: object, command: str) -> None:
    assert callable(made)
    stale = f"python -m {command} > docs/{page}"
    assert (DOCS / page).read_text(encoding="utf-8") == made(), stale


def test_the_index_has_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == pages
    assert "(docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
