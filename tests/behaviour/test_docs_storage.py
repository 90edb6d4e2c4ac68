"""What `docs/storage.md` shows runs, in its order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.behaviour.test_dashboard import serving, states
from tests.paths import ROOT
from tests.shell_trials import document

TEXT = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line.removeprefix("$ "))
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
]


@pytest.mark.long
def test_the_commands_show_a_run_that_was_made_without_a_storage(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(document("echo loss=$X")))
    install, folder, synced, storage = COMMANDS
    assert install == ["pip", "install", "katibflow[dashboard]"]
    program = [sys.executable, "-m"]
    without = synced[: synced.index("--storage")]
    for command in (without, synced):
        assert command[:2] == ["katibflow", "run"]
        subprocess.run([*program, *command], cwd=tmp_path, check=True, capture_output=True)
    for command in (folder, storage):
        assert command[:2] == ["katibflow", "dashboard"]
        with serving(tmp_path, *command[2:]) as address:
            study = 0 if command is folder else 1
            assert states(address, study) == ["Complete"] * 6
    (code,) = (block for language, block in BLOCKS if language == "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert re.fullmatch(r"\{'x': \d+\} sample-[0-9a-f]{8}-\d\n", done.stdout)


def test_the_options_named_exist() -> None:
    helped = "".join(
        subprocess.run(
            [sys.executable, "-m", "katibflow", command, "--help"],
            env={"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in ("run", "dashboard")
    )
    named = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert named and [option for option in named if option not in helped] == []
