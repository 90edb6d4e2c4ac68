"""What the command line says of itself and of errors."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from katibflow.cli.app import app
from tests.warm import client as warm

KATIBFLOW = [sys.executable, "-m", "katibflow"]
BROKEN = """
from katibflow.cli.app import app, main

@app.command()
def broken():
    raise ValueError("by mistake")

main()
"""


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )


def commands() -> list[str]:
    from typer.main import get_command

    from katibflow.cli import app

    return sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", commands())
def test_help_of_a_command_has_examples_each_on_its_line(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "100"})
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    after = lines[lines.index("Examples:") + 1 :]
    examples = after[: after.index("")]
    assert examples
    assert all(example.startswith(f"katibflow {command} ") for example in examples)


def test_an_error_is_one_message_and_with_debug_a_traceback() -> None:
    done = warm.run("validate-not")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    compile_ = ["compile", "absent.yaml", "-o", "out.yaml"]
    done = warm.run(*compile_)
    message = "absent.yaml: no such file; allowed: an Experiment's YAML file\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    done = warm.run("--debug", *compile_)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith(f"InputError: {message}")


def test_a_mistake_of_ours_is_told_as_such_and_debug_shows_where() -> None:
    done = run(sys.executable, "-c", BROKEN, "broken")
    assert done.returncode == 1
    assert done.stderr == (
        "internal error: ValueError: by mistake; `katibflow --debug ...` shows where\n"
    )
    done = run(sys.executable, "-c", BROKEN, "--debug", "broken")
    assert "in broken" in done.stderr


@pytest.mark.parametrize(
    ("typed", "completed"), [("val", "validate"), ("compile --lay", "--layout")]
)
def test_the_shell_completes_commands_and_options(typed: str, completed: str) -> None:
    words = f"katibflow {typed}"
    done = run(
        *KATIBFLOW,
        env={
            "_KATIBFLOW_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_for_each_shell(shell: str) -> None:
    undetected = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = warm.run("--show-completion", shell, env=undetected)
    assert "_KATIBFLOW_COMPLETE" in done.stdout


def test_colour_is_for_terminals_only() -> None:
    plain = {"TERM": "xterm-256color"}
    assert "\x1b[" not in run(*KATIBFLOW, "--help", env=plain).stdout
    master, slave = pty.openpty()
    try:
        subprocess.run(
            [*KATIBFLOW, "--help"],
            stdout=slave,
            stderr=slave,
            check=True,
            env={**os.environ, **plain},
        )
        assert b"\x1b[" in os.read(master, 4096)
    finally:
        os.close(master)
        os.close(slave)
