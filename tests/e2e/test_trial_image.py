"""The trial image's scripts, run as real processes; without torch, training is skipped."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.paths import ROOT

IMAGE = ROOT / "trial_image"
KATIB_FILTER = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
KATIB_FILE_FILTER = re.compile(r"{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)}")
TRAIN, TEST = 1500, 297
ONE_EPOCH = ("--epochs=1", "--batch-size=16", "--lr=0.05", "--momentum=0.7")

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None,
    reason="needs torch and torchvision: pip install -e .[torch]",
)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def validations(self) -> list[dict[str, float]]:
        return [metrics(line) for line in self.lines if "Validation" in line]


def metrics(line: str) -> dict[str, float]:
    return {match[1]: float(match[2]) for match in KATIB_FILTER.finditer(line)}


def start(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    own = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "MNIST_DATA_DIR", "OMP_NUM_THREADS"}
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Result:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return Result(process.returncode, out, err)


def run(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Result:
    return finish(start(*arguments, cwd=cwd, environment=environment))


def train(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Result:
    return run(IMAGE / "mnist.py", *arguments, cwd=cwd, environment=environment)


def train_two_ranks(*arguments: str | Path) -> list[Result]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [start(*arguments, environment={**common, "RANK": str(rank)}) for rank in range(2)]
    return [finish(process) for process in processes]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "MNIST" / "raw").iterdir()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("PIL", reason="needs Pillow: pip install pillow")
    directory = tmp_path_factory.mktemp("digits")
    made = run(IMAGE / "make_digits.py", directory)
    assert made.code == 0, made.err
    return directory


@pytest.fixture(scope="module")
def one_epoch(data: Path) -> Result:
    return train("--data-dir", data, *ONE_EPOCH)


@pytest.fixture(scope="module")
def two_ranks(data: Path) -> list[Result]:
    return train_two_ranks(IMAGE / "mnist.py", "--dir", data, *ONE_EPOCH, "--batch-size=8")


# The data


def test_making_the_digits_twice_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    assert run(IMAGE / "make_digits.py", tmp_path).code == 0
    assert content(tmp_path) == content(data)


def test_digits_that_are_there_are_left_alone(data: Path) -> None:
    before = [path.stat().st_mtime_ns for path in (data / "MNIST" / "raw").iterdir()]
    again = run(IMAGE / "make_digits.py", data)
    assert (again.code, again.err) == (0, "")
    assert "already holds" in again.out
    assert [path.stat().st_mtime_ns for path in (data / "MNIST" / "raw").iterdir()] == before


@pytest.mark.parametrize(
    "option",
    [
        pytest.param((), id="cut off"),
        pytest.param(("--force",), id="forced", marks=pytest.mark.long),
    ],
)
def test_digits_are_made_anew_when_broken_or_forced(
    data: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, whole in content(data).items():
        (raw / name).write_bytes(whole if option else whole[:-1])
    made = run(IMAGE / "make_digits.py", tmp_path, *option)
    assert "wrote" in made.out
    assert content(tmp_path) == content(data)


def test_another_data_set_is_not_overwritten(tmp_path: Path) -> None:
    write_empty_images(tmp_path, train=3, test=2)
    before = content(tmp_path)
    refused = run(IMAGE / "make_digits.py", tmp_path)
    assert refused.code == 1
    assert f"{tmp_path} holds another data set: 3 training and 2 test images" in refused.err
    assert content(tmp_path) == before


def test_the_data_directory_must_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run(IMAGE / "make_digits.py", tmp_path / "file")
    assert refused.code == 2
    assert f"{tmp_path / 'file'} is not a directory" in refused.err


@needs_torch
@pytest.mark.long
def test_torchvision_reads_the_digits_as_mnist(data: Path) -> None:
    script = """
import json, sys
from torchvision.datasets import MNIST
found = []
for train in (True, False):
    part = MNIST(sys.argv[1], train=train, download=False)
    found.append({
        "shapes": [list(part.data.shape), list(part.targets.shape)],
        "dtypes": [str(part.data.dtype), str(part.targets.dtype)],
        "labels": part.targets.bincount().tolist(),
        "range": [int(part.data.min()), int(part.data.max())],
    })
print(json.dumps(found))
"""
    loaded = run("-c", script, data)
    assert loaded.code == 0, loaded.err
    training, test = json.loads(loaded.out)
    assert training["shapes"] == [[TRAIN, 28, 28], [TRAIN]]
    assert test["shapes"] == [[TEST, 28, 28], [TEST]]
    for part in (training, test):
        assert part["dtypes"] == ["torch.uint8", "torch.int64"]
        assert part["range"] == [0, 255]
    # How often each digit occurs among scikit-learn's 1797.
    together = [sum(pair) for pair in zip(training["labels"], test["labels"], strict=True)]
    assert together == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert min(test["labels"]) >= 20


# Training in one process


@needs_torch
@pytest.mark.long
def test_two_epochs_recognise_nine_of_ten_digits(data: Path) -> None:
    trained = train("--dir", data, *ONE_EPOCH, "--epochs=2", "--lr=0.02")
    assert (trained.code, trained.err) == (0, "")
    first, last = trained.validations
    assert last["loss"] < first["loss"]
    assert last["loss"] < 0.35
    assert last["accuracy"] > 0.9


@needs_torch
@pytest.mark.long
def test_every_line_starts_with_a_time_in_utc(one_epoch: Result) -> None:
    assert one_epoch.code == 0, one_epoch.err
    for line in one_epoch.lines:
        word = line.split(" ", 1)[0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", word), line
        moment = datetime.fromisoformat(word)
        assert abs(datetime.now(moment.tzinfo) - moment) < timedelta(minutes=10)


@needs_torch
def test_metric_lines_fit_katibs_filters(one_epoch: Result) -> None:
    steps = [line for line in one_epoch.lines if "Train Epoch" in line]
    assert len(steps) == 10  # 94 batches, one line in 10
    assert all(set(metrics(line)) == {"loss"} for line in steps)
    (validation,) = one_epoch.validations
    assert set(validation) == {"accuracy", "loss"}
    for_files = {name: float(value) for name, value, *_ in KATIB_FILE_FILTER.findall(one_epoch.out)}
    assert for_files == validation


@needs_torch
@pytest.mark.long
def test_the_same_seed_gives_the_same_metrics(data: Path, one_epoch: Result) -> None:
    again = train("--dir", data, *ONE_EPOCH)
    assert [metrics(line) for line in again.lines] == [metrics(line) for line in one_epoch.lines]


@needs_torch
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(each, marks=pytest.mark.long)
        for each in ("--lr=0.02", "--momentum=0.3", "--seed=2")
    ],
)
def test_a_changed_argument_changes_the_loss(data: Path, one_epoch: Result, change: str) -> None:
    changed = train("--dir", data, *ONE_EPOCH, change)
    assert changed.validations[0]["loss"] != one_epoch.validations[0]["loss"]


@needs_torch
@pytest.mark.long
def test_a_diverging_loss_fails_without_a_metric(data: Path) -> None:
    diverged = train("--dir", data, *ONE_EPOCH, "--lr=1e9")
    assert diverged.code == 1
    assert re.fullmatch(r"mnist\.py: the loss is (nan|inf) after epoch 1: .*\n", diverged.err)
    assert diverged.validations == []


@needs_torch
@pytest.mark.long
def test_log_and_weights_go_to_files_when_asked(data: Path, tmp_path: Path) -> None:
    options = ("--log-path=logs/mnist.log", "--save-model")
    trained = train("--dir", data, *ONE_EPOCH, *options, cwd=tmp_path)
    assert (trained.code, trained.out) == (0, "")
    lines = (tmp_path / "logs" / "mnist.log").read_text().splitlines()
    assert sum("Validation" in line for line in lines) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "mnist_cnn.pt"]


@needs_torch
@pytest.mark.long
def test_hypertune_logger_writes_json_lines(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mnist.json"
    trained = train("--dir", data, *ONE_EPOCH, "--logger=hypertune", f"--log-path={path}")
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [set(line) for line in written] == [
        {"timestamp", "loss", "global_step"},
        {"timestamp", "accuracy", "global_step"},
    ]
    assert float(written[0]["loss"]) == pytest.approx(trained.validations[0]["loss"], abs=1e-4)


# Training on two ranks


@needs_torch
def test_rank_0_alone_prints_metrics(two_ranks: list[Result]) -> None:
    master, worker = two_ranks
    assert (master.code, worker.code) == (0, 0), master.err + worker.err
    assert len(master.validations) == 1
    assert KATIB_FILTER.search(worker.out) is None
    assert KATIB_FILE_FILTER.search(worker.out) is None


@needs_torch
def test_two_ranks_train_like_one_with_twice_the_batch(
    two_ranks: list[Result], one_epoch: Result
) -> None:
    together, alone = two_ranks[0].validations[0], one_epoch.validations[0]
    # Only the order of floating-point sums differs.
    assert together["loss"] == pytest.approx(alone["loss"], abs=0.01)
    assert together["accuracy"] == pytest.approx(alone["accuracy"], abs=0.02)


@needs_torch
@pytest.mark.long
def test_two_ranks_end_with_identical_parameters(data: Path) -> None:
    script = """
import hashlib, os, sys
sys.path.insert(0, sys.argv[1])
import mnist, training
settings = mnist.parse(sys.argv[2:], os.environ)
scores = []
network = training.train(settings, lambda epoch, score: scores.append(score))
digest = hashlib.sha256()
for name, value in network.state_dict().items():
    digest.update(name.encode() + value.numpy().tobytes())
print(len(scores), digest.hexdigest())
"""
    # Dropout draws differently on each rank, and must not part them.
    options = ("--dropout-rate=0.2", "--weight-decay=0.001")
    results = train_two_ranks("-c", script, IMAGE, "--dir", data, *ONE_EPOCH, *options)
    assert [result.code for result in results] == [0, 0], results
    (reports, digest), (no_reports, other_digest) = (result.out.split() for result in results)
    assert (reports, no_reports) == ("1", "0")
    assert digest == other_digest


@needs_torch
@pytest.mark.long
def test_a_rank_that_waits_in_vain_says_for_whom(data: Path) -> None:
    nobody = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    waited = train("--dir", data, "--timeout=2", environment=nobody)
    assert waited.code == 1
    (line,) = waited.err.splitlines()
    assert line.startswith("mnist.py: rank 1 cannot join 2 ranks at 127.0.0.1:9 with gloo: ")


# What is refused; none of it imports torch


def test_missing_data_is_one_error_with_its_cure(tmp_path: Path) -> None:
    refused = train(environment={"MNIST_DATA_DIR": str(tmp_path)})
    assert refused.code == 1
    (line,) = refused.err.splitlines()
    assert line.startswith(f"mnist.py: no data in {tmp_path}: train-images-idx3-ubyte is missing")
    assert f"python3 {IMAGE / 'make_digits.py'} {tmp_path}" in line


def test_a_cut_off_file_is_named(data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, whole in content(data).items():
        (raw / name).write_bytes(whole[: 100 if name.startswith("t10k-labels") else None])
    refused = train("--data-dir", tmp_path)
    assert refused.code == 1
    assert "t10k-labels-idx1-ubyte has 100 bytes, its header asks for 305" in refused.err


def test_digits_do_not_pass_for_the_real_set(data: Path) -> None:
    refused = train("--data-dir", data, "--download")
    assert refused.code == 1
    assert f"{data} holds 1500 training images, not the real MNIST's 60000" in refused.err


@needs_torch
@pytest.mark.long
def test_a_failed_download_is_one_error(tmp_path: Path) -> None:
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    failed = train("--data-dir", tmp_path, "--download", environment=nowhere)
    assert failed.code == 1
    assert failed.err.startswith(f"mnist.py: cannot download MNIST to {tmp_path}: ")
    assert len(failed.err.splitlines()) == 1


@pytest.mark.parametrize(
    "argument",
    [
        "--lr=0",
        "--lr=nan",
        "--lr=inf",
        "--lr=fast",
        "--momentum=-0.1",
        "--momentum=1.5",
        "--weight-decay=-1",
        "--dropout-rate=1",
        "--epochs=0",
        "--epochs=1.5",
        "--batch-size=0",
        "--test-batch-size=0",
        "--log-interval=0",
        "--seed=-1",
        "--timeout=0",
        "--logger=other",
        "--backend=other",
        "--log-path=.",
        "--data-dir=",
    ],
)
def test_a_bad_argument_is_named_with_exit_status_2(argument: str, tmp_path: Path) -> None:
    refused = train(argument, cwd=tmp_path)
    assert refused.code == 2
    assert argument.split("=")[0] in refused.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "RANK"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "70000"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "80"}, "MASTER_ADDR"),
    ],
)
def test_a_bad_environment_is_named_with_exit_status_2(
    environment: dict[str, str], named: str
) -> None:
    refused = train(environment=environment)
    assert refused.code == 2
    assert f"environment variable {named}" in refused.err.splitlines()[-1]


# The image


def test_the_image_holds_every_script_and_the_tested_torch() -> None:
    dockerfile = (IMAGE / "Dockerfile").read_text()
    copied = {
        word
        for line in dockerfile.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert {path.name for path in IMAGE.glob("*.py")} <= copied
    assert all((IMAGE / name).is_file() for name in copied)
    pinned = {
        line
        for line in (IMAGE / "requirements.txt").read_text().splitlines()
        if line.startswith("torch")
    }
    assert len(pinned) == 2
    others = (IMAGE / "requirements.txt").read_text().splitlines()
    (scikit,) = (line for line in others if line.startswith("scikit-learn=="))
    assert f" {scikit}\n" in dockerfile
    tested = {line.split(";")[0].strip() for line in (ROOT / "setup.cfg").read_text().splitlines()}
    assert pinned <= tested


def write_empty_images(directory: Path, *, train: int, test: int) -> None:
    raw = directory / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        number = count.to_bytes(4, "big")
        side = (28).to_bytes(4, "big")
        images = b"\0\0\x08\x03" + number + side + side + bytes(count * 28 * 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + number + bytes(count))
