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
    again = run(tmp_path, "init", "train.py")
    assert again.returncode == 2 and "allowed: another -o, or --force" in again.stderr

    dry = run(tmp_path, "run", "experiment.yaml", "--dry-run")
    assert f"python of the trials: {sys.executable}" in dry.stdout, dry.stderr
    assert f"in {tmp_path}\n" in dry.stdout
    assert not (tmp_path / "runs").exists()

    failed = run(tmp_path, "run", "experiment.yaml", "--max-trials", "1")
    assert failed.returncode == 1
    assert "FileNotFoundError" in failed.stdout

    (tmp_path / "data.csv").write_text("0.02", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(elsewhere, "run", "../experiment.yaml", "--max-trials", "2", "--env", "A=b")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best trial: " in done.stdout
    changed = run(elsewhere, "run", "../experiment.yaml", "--max-trials", "2", "--env", "A=c")
    assert changed.returncode == 2 and 'env[0].value: found "c"' in changed.stderr


def test_a_path_in_the_command_that_is_not_here_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    assert run(tmp_path, "init", "train.py").returncode == 0
    file = tmp_path / "experiment.yaml"
    text = file.read_text("utf-8")
    lr = '                  - "--lr='
    file.write_text(text.replace(lr, f'                  - "--data=no/such.csv"\n{lr}'), "utf-8")
    failed = run(tmp_path, "run", "experiment.yaml", "--max-trials", "1")
    assert f"its command names no/such.csv, not found here (from {tmp_path})" in failed.stdout


def test_an_example_comes_with_the_package_and_says_how_to_run_it(tmp_path: Path) -> None:
    made = run(tmp_path, "init", "--example", "mnist")
    assert made.stdout.splitlines() == [
        "python trial_image/make_digits.py",
        "katibflow run mnist.yaml --map /opt/pytorch-mnist=trial_image",
    ]
    assert (tmp_path / "trial_image" / "mnist.py").is_file()
    assert 'found "no"; allowed: mnist' in run(tmp_path, "init", "--example", "no").stderr
