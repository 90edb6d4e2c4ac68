"""A newcomer's own script in a folder of its own: `katibflow init`, then `katibflow run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KATIBFLOW = [sys.executable, "-m", "katibflow"]
SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--data", default="data.csv")
options = parser.parse_args()
bias = float(open(options.data).read())
print(f"loss={(options.lr - bias) ** 2}")
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KATIBFLOW, *words], cwd=folder, capture_output=True, text=True)


def test_a_script_runs_with_its_data_right_after_init(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    made = run(tmp_path, "init", "train.py")
    assert (made.returncode, made.stdout) == (0, "katibflow run experiment.yaml\n"), made.stderr
    dry = run(tmp_path, "run", "experiment.yaml", "--dry-run")
    assert f"python of the trials: {sys.executable}" in dry.stdout, dry.stderr
    assert f"in {tmp_path}\n" in dry.stdout
    assert not (tmp_path / "runs").exists()

    file = tmp_path / "experiment.yaml"
    text = file.read_text("utf-8")
    lr = '                  - "--lr='
    file.write_text(text.replace(lr, f'                  - "--data=no/such.csv"\n{lr}'), "utf-8")
    failed = run(tmp_path, "run", "experiment.yaml", "--max-trials", "1", "--name", "absent")
    assert failed.returncode == 1
    assert f"its command names no/such.csv, not found here (from {tmp_path})" in failed.stdout

    file.write_text(text, encoding="utf-8")
    (tmp_path / "data.csv").write_text("0.02", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(elsewhere, "run", "../experiment.yaml", "--max-trials", "1", "--env", "A=b")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best trial: 0" in done.stdout
