"""What the command line says of words that it does not take."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from katibflow.cli.app import app
from katibflow.cli.usage import UsageError, allowed_values, usage_text
from katibflow.errors import InputError


def error_of(line: str) -> str:
    done = CliRunner().invoke(app, line.split(), standalone_mode=False)
    if isinstance(done.exception, UsageError):
        return usage_text(done.exception)
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run e.yaml --goal abc", '--goal: found "abc"; allowed: a number'),
        ("run e.yaml --max-trials 1.5", '--max-trials: found "1.5"; allowed: a whole number'),
        ("run e.yaml --gpus two", '--gpus: found "two"; allowed: a whole number'),
        ("run e.yaml --on mars", '--on: found "mars"; allowed: local, kubernetes'),
        ("compile e.yaml -o p.yaml --layout x", '--layout: found "x"; allowed: auto, rounds, '),
        (
            "run e.yaml --trial-timeout 0",
            '--trial-timeout: found "0"; allowed: a number of at least 0.001',
        ),
        ("dashboard --port -1", '--port: found "-1"; allowed: a whole number from 0 to 65535'),
        ("logs runs/x first", 'TRIAL: found "first"; allowed: a whole number of at least 0'),
        ("run e.yaml --gols 1", "katibflow run: No such option: --gols"),
        ("run e.yaml --goal", "katibflow run: Option '--goal' requires an argument; `katibflow "),
        ("run", "katibflow run: Missing argument 'FILE'; `katibflow run -h` says what is allowed"),
        ("runn", "katibflow: No such command 'runn'"),
    ],
)
def test_a_wrong_word_is_one_line_with_the_option_what_was_found_and_what_is_allowed(
    line: str, message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.yaml").write_text("{}")
    text = error_of(line)
    assert text.startswith(message)
    assert "\n" not in text


def test_what_is_allowed_is_known_for_the_options_of_every_command() -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {
        f"{name} --{parameter.name}": allowed_values(command.callback, parameter.name)
        for name, command in commands.items()
        for parameter in command.params
        if parameter.name != "help"
    }
    assert known["run --trial_start_timeout"] == "a number of at least 0.001"
    assert known["list --on"].startswith("local, kfp")
    assert sum(map(bool, known.values())) > 40


def test_the_process_prints_the_line_and_ends_with_2() -> None:
    words = [sys.executable, "-m", "katibflow", "run", "e.yaml", "--goal", "abc"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    message = '--goal: found "abc"; allowed: a number\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
