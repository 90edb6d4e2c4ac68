"""Which GPUs and how many threads a trial gets."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from katibflow.runners.local.devices import GPU_KINDS, Gpus, Pool, gpu_faults, gpus_here
from katibflow.runners.local.manifest import plan_job, with_gpus
from katibflow.runners.local.processors import with_threads

NVIDIA, AMD = GPU_KINDS


def container(number: int = 0, resource: str = "nvidia.com/gpu", **more: Any) -> dict[str, Any]:
    limits = {resource: number} if number else {}
    return {"name": "main", "command": ["true"], "resources": {"limits": {**limits, **more}}}


def job(of: dict[str, Any], **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [of]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template, **spec}}


def pytorch(of: dict[str, Any], workers: int) -> dict[str, Any]:
    template = {"spec": {"containers": [of]}}
    replicas = {"Master": {"template": template}}
    replicas["Worker"] = {"replicas": workers, "template": template}
    spec = {"pytorchReplicaSpecs": replicas}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": spec}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for NVIDIA's driver with four devices."""
    library = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 4,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("given", "around", "ids"),
    [
        (None, {}, "0 1 2 3"),
        (2, {}, "0 1"),
        (0, {}, ""),
        (None, {"CUDA_VISIBLE_DEVICES": "1,3"}, "1 3"),
        (1, {"CUDA_VISIBLE_DEVICES": "GPU-7f, GPU-9a"}, "GPU-7f"),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, ""),
        (None, {"CUDA_VISIBLE_DEVICES": "-1"}, ""),
    ],
)
def test_gpus_are_those_of_the_driver_the_caller_or_the_user(
    given: int | None, around: dict[str, str], ids: str
) -> None:
    found = gpus_here(job(container(1)), given, around)
    assert found is not None
    assert list(found.ids) == ids.split()
    assert gpus_here(job(container()), given, around) is None


def test_without_the_drivers_package_none_are_found_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = gpus_here(job(container(1)), None, {})
    assert found is not None and found.at_once is None and not list(gpu_faults(found))
    assert "none is found here, so trials run without; --gpus N" in found.note(3)


def test_as_many_trials_run_as_gpus_allow() -> None:
    found = gpus_here(pytorch(container(1), workers=1), 5, {})
    assert found == Gpus(NVIDIA, ("0", "1", "2", "3", "4"), 2)
    assert found.at_once == 2
    assert found.note(3) == (
        "nvidia.com/gpu: 2 a trial of 0, 1, 2, 3, 4, by CUDA_VISIBLE_DEVICES: 2 at a time (3 are "
        "asked for)"
    )
    (fault,) = gpu_faults(gpus_here(job(container(4, "amd.com/gpu")), 2, {}))
    assert str(fault).startswith(
        "spec.trialTemplate.trialSpec: amd.com/gpu: found 4 for one trial; allowed: at most 2"
    )


def test_each_replica_sees_its_own_gpus() -> None:
    plan = with_gpus(plan_job(pytorch(container(1), 2), "j", 1), NVIDIA, ["4", "5", "6"])
    seen = [replica.defaults["CUDA_VISIBLE_DEVICES"] for replica in plan.replicas]
    assert seen == ["4", "5", "6"]
    one_by_one = job(container(2, "amd.com/gpu"), completions=3)
    plan = with_gpus(plan_job(one_by_one, "j", 1), AMD, ["0", "1"])
    assert {replica.defaults["HIP_VISIBLE_DEVICES"] for replica in plan.replicas} == {"0,1"}


def test_no_two_trials_have_the_same_gpu_also_after_a_kill() -> None:
    pool = Pool(["0", "1"])
    pool.reserve(7, ["0"])  # an earlier process started trial 7
    got: list[tuple[str, ...]] = []
    is_lent = threading.Event()

    def third() -> None:
        with pool.lent(3, 1, lambda: False) as ids:
            got.append(ids)
            is_lent.set()

    with pool.lent(2, 1, lambda: False) as ids:
        assert ids == ("1",)
        thread = threading.Thread(target=third)
        thread.start()
        with pool.lent(7, 1, lambda: False) as own:
            assert own == ("0",)
            assert not got
        assert is_lent.wait(10)
    thread.join()
    assert got == [("0",)]
    with pool.lent(2, 2, lambda: False), pool.lent(4, 1, lambda: True) as none:
        assert none == ()


@pytest.mark.parametrize(
    ("of", "around", "threads"),
    [
        (container(), {}, "2"),
        (container(cpu="3"), {}, "3"),
        (container(cpu="1500m"), {}, "1"),
        (container(cpu="64"), {}, None),
        (container(), {"OMP_NUM_THREADS": "5"}, None),
        ({**container(), "command": ["torchrun", "train.py"]}, {}, None),
    ],
)
def test_processors_are_shared(
    of: dict[str, Any], around: dict[str, str], threads: str | None
) -> None:
    plan = with_threads(plan_job(pytorch(of, 1), "j", 1), 2, 8, around)
    assert {each.defaults.get("OMP_NUM_THREADS") for each in plan.replicas} == {threads}


def test_amds_gpus_are_those_that_the_kernel_lists(tmp_path: Path) -> None:
    from katibflow.runners.local.devices import _amd

    for node, text in enumerate(("0\n", "5231\n", "881\n")):
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "gpu_id").write_text(text)
    assert _amd(tmp_path) == ["0", "1"]
