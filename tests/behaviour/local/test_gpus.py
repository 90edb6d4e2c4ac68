"""A run whose trials ask for GPUs: each has its own, and no more run than there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow import Experiment
from katibflow.errors import InputError
from tests.shell_trials import document

# Each trial takes its device's place, and waits until another one has run beside it.
SCRIPT = """
mkdir "{place}/$CUDA_VISIBLE_DEVICES" || exit 3
touch "{place}/seen-$CUDA_VISIBLE_DEVICES"
n=0
while [ ! -e {place}/seen-1 ] || [ ! -e {place}/seen-2 ]; do
  sleep 0.02; n=$((n + 1)); [ "$n" -lt 500 ] || exit 4
done
rmdir "{place}/$CUDA_VISIBLE_DEVICES"
echo loss=$X threads=$OMP_NUM_THREADS
"""


def test_trials_have_distinct_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    made = document(SCRIPT.format(place=tmp_path))
    pod = made["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    pod["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    result = Experiment(made).run(runs=tmp_path / "runs", progress=False)
    assert [trial.state for trial in result.trials] == ["COMPLETE"] * 6
    assert result.history.experiment.spec.parallelism == 2, "the file asks for 3"
    with pytest.raises(InputError, match="gpus: found -1"):
        Experiment(made).run(runs=tmp_path / "runs", progress=False, gpus=-1)
