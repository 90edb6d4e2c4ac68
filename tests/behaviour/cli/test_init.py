"""A newcomer's own script in a folder of its own, as docs/scripts.md has it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.warm import client as warm

PAGE = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ katibflow (.*)$", PAGE, re.MULTILINE)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(*words, cwd=folder)


def test_the_pages_script_runs_right_after_init(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    init, dry_run, start = map(shlex.split, COMMANDS)
    made = run(tmp_path, *init)
    assert (made.returncode, made.stdout) == (0, "katibflow run experiment.yaml\n"), made.stderr
    dry = run(tmp_path, *dry_run)
    assert f"python of the trials: {sys.executable}" in dry.stdout, dry.stderr
    assert f"in {tmp_path}\n" in dry.stdout
    assert not (tmp_path / "runs").exists()
    done = run(tmp_path, *start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials ended" in done.stdout and "best trial: " in done.stdout

    # From elsewhere, with an argument that leads nowhere.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = tmp_path / "experiment.yaml"
    lr = '                  - "--lr='
    text = file.read_text("utf-8").replace(lr, f'                  - "no/such.csv"\n{lr}')
    file.write_text(text, "utf-8")
    failed = run(elsewhere, "run", "../experiment.yaml", "--max-trials", "1")
    assert failed.returncode == 1
    assert f"its command names no/such.csv, not found here (from {tmp_path})" in failed.stdout
