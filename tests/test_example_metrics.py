"""The example with metrics in a file, run on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KATIBFLOW = (sys.executable, "-m", "katibflow")


def test_the_example_with_metrics_in_a_file_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*KATIBFLOW, "run", "examples/metrics-file.yaml", "--json", "--runs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = sorted(tmp_path.glob("metrics-file/trials/*/record.json"))
    assert len(records) == 4
    for path in records:
        record = json.loads(path.read_text())
        assert record["state"] == "COMPLETE"
        assert [point["epoch"] for point in record["intermediate"]] == list(range(1, 11))
        seen = record["observations"]
        assert seen["loss"]["latest"] == seen["loss"]["min"] > 0
        assert seen["accuracy"]["max"] == pytest.approx(1 / (1 + seen["loss"]["min"]))
