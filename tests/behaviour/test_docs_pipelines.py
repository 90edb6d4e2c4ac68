"""What `docs/pipelines.md` and `docs/troubleshooting.md` show: commands, code, sizes, messages."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from katibflow.cli import app
from katibflow.steps.capacity import MAX_ROUNDS
from katibflow.steps.run_parameters import RUN_PARAMETERS
from tests.paths import ROOT

NAMES = ("pipelines", "troubleshooting")
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
BLOCKS = {
    name: re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, text in PAGES.items()
}
COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS["pipelines"]
    if language == "console"
    for line in block.splitlines()
]
MESSAGES = [
    line
    for language, block in BLOCKS["troubleshooting"]
    if language == "text"
    for line in block.splitlines()
]
KUBERNETES = {"NodeLost", "NetworkPolicy", "PriorityClass", "WorkloadPriorityClass"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(folder: Path, command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "katibflow"
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (folder / arguments[arguments.index("-o") + 1]).is_file()


def test_sizes_are_what_the_compiler_makes(folder: Path) -> None:
    rows = re.findall(r"^\| (.*?) ?\| (\d+) KB \|", PAGES["pipelines"], re.MULTILINE)
    assert len(rows) == 3
    for options, size in rows:
        words = ["compile", "examples/mnist.yaml", "-o", "x.yaml", *shlex.split(options.strip("`"))]
        assert CliRunner().invoke(app, words).exit_code == 0
        assert (folder / "x.yaml").stat().st_size / 1024 == pytest.approx(int(size), rel=0.1)


def test_the_pipeline_of_ones_own_compiles(folder: Path) -> None:
    (code,) = (block for language, block in BLOCKS["pipelines"] if language == "python")
    script = folder / "own.py"
    compiling = "from kfp import compiler; compiler.Compiler().compile(tune_and_train, 'own.yaml')"
    script.write_text(f"{code}\n\n{compiling}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tasks = next(yaml.safe_load_all((folder / "own.yaml").read_text()))["root"]["dag"]["tasks"]
    assert set(tasks) == {"mnist", "train"}


def test_the_run_s_parameters_and_limits_are_named() -> None:
    # All of them are in the table of docs/kfp.md, which has a test of its own.
    section = re.split(r"^## ", PAGES["pipelines"], flags=re.M)[1]
    named = set(re.findall(r"`(\w+)`", section))
    assert named
    assert named <= {each.name for each in RUN_PARAMETERS}
    assert f"{MAX_ROUNDS} rounds" in PAGES["pipelines"]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for file, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGES[name]):
        path = (ROOT / "docs" / file) if file else (ROOT / "docs" / f"{name}.md")
        assert path.exists(), file
        headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not anchor or anchor in slugs, anchor


@cache
def _sources() -> tuple[ast.Module, ...]:
    files = [file for name in ("katibflow", "components") for file in (ROOT / name).rglob("*.py")]
    return tuple(ast.parse(file.read_text(encoding="utf-8")) for file in files)


@cache
def _templates() -> tuple[tuple[str, ...], ...]:
    """The fixed parts of every text in the code, in their order."""

    def each() -> Iterator[tuple[str, ...]]:
        for tree in _sources():
            nodes = list(ast.walk(tree))
            joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
            parts = {id(part) for node in joined for part in node.values}
            for node in nodes:
                if id(node) in parts:
                    continue
                if isinstance(node, ast.JoinedStr):
                    yield tuple(
                        str(part.value) for part in node.values if isinstance(part, ast.Constant)
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield (node.value,)

    return tuple(each())


def _is_of(line: str, template: tuple[str, ...]) -> bool:
    """Whether a line holds a template's fixed parts in order, or ends within one of them."""
    at = seen = 0
    for part in template:
        part = part.strip("\n")
        found = line.find(part, at)
        if found < 0:
            rest = next((line[i:] for i in range(at, len(line)) if part.startswith(line[i:])), "")
            return seen + len(rest) >= 12 and len(rest) >= 3
        at, seen = found + len(part), seen + len(part)
    return seen >= 8


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_that_the_code_has(message: str) -> None:
    assert any(_is_of(message, template) for template in _templates()), message


def test_a_message_that_the_code_has_not_is_seen() -> None:
    for wrong in (
        "the job ran longer than it may",
        "3 trials went wrong",
        "not begun within 600 s",
    ):
        assert not any(_is_of(wrong, template) for template in _templates()), wrong


def test_reasons_are_words_of_the_code() -> None:
    word = r"`([A-Z][a-z]+(?:[A-Z]\w+)+|OOMKilled|Evicted)`"
    words = set(re.findall(word, PAGES["troubleshooting"]))
    known = {part for template in _templates() for part in template}
    assert words
    assert sorted(words - known - KUBERNETES) == []


def test_options_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", "".join(PAGES.values())))
    helped = "".join(
        CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for command in ("run", "compile", "validate")
    )
    assert [option for option in sorted(named) if option not in helped] == []
