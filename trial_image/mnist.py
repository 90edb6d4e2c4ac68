"""MNIST training with the arguments and the metric lines of Katib's pytorch-mnist example.

    python3 mnist.py --epochs=1 --batch-size=16 --lr=0.01 --momentum=0.5

With WORLD_SIZE above 1, RANK, MASTER_ADDR and MASTER_PORT in the environment (a PyTorchJob sets
them) it trains with DistributedDataParallel; rank 0 alone prints metrics. A line starts with an
RFC 3339 time in UTC:

    2025-01-31T12:00:00.123Z INFO     Train Epoch: 1 [320/1500 (21%)]	loss=1.2345
    2025-01-31T12:00:01.456Z INFO     Validation Epoch: 1	accuracy=0.9876 loss=0.1234
    2025-01-31T12:00:01.456Z INFO     {metricName: accuracy, metricValue: 0.9876};{...}

Katib's default filter reads the first two, the filter of its file collector example the third.
Exit status: 0; 1 if the data is missing or training fails; 2 for bad arguments or environment.
Source: https://github.com/kubeflow/katib/tree/master/examples/v1beta1/trial-images/pytorch-mnist
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import idx

if TYPE_CHECKING:
    from training import Scores

__all__ = ["Settings", "main", "parse"]

_HERE = Path(__file__).resolve().parent
_MODEL_FILE = "mnist_cnn.pt"
# Where the cloudml-hypertune package writes, whose file Katib's example produces.
_HYPERTUNE_FILE = "/tmp/hypertune/output.metrics"
_REAL_SIZES = (60_000, 10_000)

_log = logging.getLogger("mnist")


@dataclass(frozen=True)
class Settings:
    """One training run, checked.

    Attributes:
        batch_size: Training images per step and rank, at least 1.
        test_batch_size: Test images at once, at least 1.
        epochs: Passes over the training set, at least 1.
        lr: Learning rate, above 0.
        momentum: Of SGD, 0 to 1.
        weight_decay: L2 penalty, at least 0.
        dropout_rate: Share of hidden units dropped, 0 to below 1.
        no_cuda: Train on the CPU even if there is a GPU.
        seed: Of weights, order of images and dropout, 0 to 2**32 - 1.
        log_interval: Batches from one train line to the next, at least 1.
        log_path: File for the lines in place of standard output; with logger "hypertune", the
            file for the metrics as JSON lines. None for the default.
        save_model: Save the weights as mnist_cnn.pt in the working directory.
        logger: "standard" or "hypertune".
        backend: Of torch.distributed: "gloo", "nccl" or "mpi".
        data_dir: Directory with MNIST/raw/ and the IDX files.
        download: Fetch the real MNIST into data_dir if it is not there.
        timeout: Seconds to wait for another rank, above 0.
        rank: Of this process, 0 to below world_size.
        world_size: Number of processes that train together, at least 1.
    """

    batch_size: int
    test_batch_size: int
    epochs: int
    lr: float
    momentum: float
    weight_decay: float
    dropout_rate: float
    no_cuda: bool
    seed: int
    log_interval: int
    log_path: Path | None
    save_model: bool
    logger: str
    backend: str
    data_dir: Path
    download: bool
    timeout: float
    rank: int
    world_size: int


def parse(arguments: list[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that a command line and an environment ask for.

    Args:
        arguments: The command line without the program's name.
        environment: Read for WORLD_SIZE (default 1), RANK, MASTER_ADDR, MASTER_PORT and
            MNIST_DATA_DIR.

    Raises:
        SystemExit: With status 2, the reason printed, if anything in them is not allowed.
    """
    parser = argparse.ArgumentParser(
        prog="mnist.py", description="Train a small network on MNIST, alone or on several ranks."
    )
    add = parser.add_argument
    default = "(default: %(default)s)"
    count = _integer(1)
    add("--batch-size", type=count, default=64, metavar="N", help=f"per rank {default}")
    add("--test-batch-size", type=count, default=1000, metavar="N", help=default)
    add("--epochs", type=count, default=10, metavar="N", help=default)
    add("--lr", type=_number(0, open_below=True), default=0.01, help=f"learning rate {default}")
    add("--momentum", type=_number(0, 1), default=0.5, metavar="M", help=f"of SGD {default}")
    add("--weight-decay", type=_number(0), default=0.0, metavar="WD", help=default)
    add(
        "--dropout-rate",
        type=_number(0, 1, open_above=True),
        default=0.0,
        metavar="DR",
        help=default,
    )
    add("--no-cuda", action="store_true", help="train on the CPU even if there is a GPU")
    add("--seed", type=_integer(0, 2**32 - 1), default=1, metavar="S", help=default)
    add(
        "--log-interval",
        type=count,
        default=10,
        metavar="N",
        help=f"batches between train lines {default}",
    )
    add("--log-path", default="", help="file for the lines (default: standard output)")
    add("--save-model", action="store_true", help=f"save the weights as {_MODEL_FILE}")
    add(
        "--logger",
        choices=["standard", "hypertune"],
        default="standard",
        help=f"hypertune writes metrics as JSON lines to --log-path {default}",
    )
    add("--backend", choices=["gloo", "nccl", "mpi"], default="gloo", help=default)
    add(
        "--data-dir",
        "--dir",
        default=environment.get("MNIST_DATA_DIR") or None,
        help="directory with MNIST/raw/ (default: $MNIST_DATA_DIR, or beside this script"
        " data/digits, with --download data/mnist)",
    )
    add("--download", action="store_true", help="fetch the real MNIST if it is not there")
    add(
        "--timeout",
        type=_number(0, open_below=True),
        default=600.0,
        metavar="S",
        help=f"seconds to wait for another rank {default}",
    )
    given = parser.parse_args(arguments)
    if given.data_dir is None:
        data_dir = _HERE / "data" / ("mnist" if given.download else "digits")
    elif given.data_dir.strip():
        data_dir = Path(given.data_dir)
    else:
        parser.error("argument --data-dir: must name a directory, got an empty string")
    log_path = Path(given.log_path) if given.log_path else None
    if log_path is not None and log_path.is_dir():
        parser.error(f"argument --log-path: {log_path} is a directory")
    if given.save_model and not os.access(".", os.W_OK):
        parser.error(f"argument --save-model: cannot write to {Path.cwd()}")
    try:
        rank, world_size = _ranks(environment)
    except ValueError as error:
        parser.error(str(error))
    values = {**vars(given), "data_dir": data_dir, "log_path": log_path}
    return Settings(**values, rank=rank, world_size=world_size)


def _integer(low: int, high: int | None = None) -> Callable[[str], int]:
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"must be a whole number {allowed}, got {text!r}")
        return value

    return convert


def _number(
    low: float, high: float = math.inf, *, open_below: bool = False, open_above: bool = False
) -> Callable[[str], float]:
    allowed = f"{'above' if open_below else 'of at least'} {low:g}"
    if high < math.inf:
        allowed += f" and {'below' if open_above else 'at most'} {high:g}"

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        above = value > low if open_below else value >= low
        below = value < high if open_above else value <= high
        if not (math.isfinite(value) and above and below):
            raise argparse.ArgumentTypeError(f"must be a finite number {allowed}, got {text!r}")
        return value

    return convert


def _ranks(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return this process's rank and the number of ranks.

    Raises:
        ValueError: If a variable is missing or out of range; the message names it.
    """
    world_size = _variable(environment, "WORLD_SIZE", 1, None, default="1")
    if world_size == 1:
        return 0, 1
    rank = _variable(environment, "RANK", 0, world_size - 1)
    _variable(environment, "MASTER_PORT", 1, 65_535)
    if not environment.get("MASTER_ADDR"):
        raise ValueError("environment variable MASTER_ADDR must be set, as WORLD_SIZE is above 1")
    return rank, world_size


def _variable(
    environment: Mapping[str, str], name: str, low: int, high: int | None, default: str = ""
) -> int:
    text = environment.get(name) or default
    if not text:
        raise ValueError(f"environment variable {name} must be set, as WORLD_SIZE is above 1")
    try:
        return _integer(low, high)(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"environment variable {name}: {error}") from None


def _start_logging(settings: Settings) -> None:
    """Send log lines to standard output, or on rank 0 to the given file.

    Raises:
        OSError: If the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if settings.logger == "standard" and settings.log_path is not None and settings.rank == 0:
        settings.log_path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(settings.log_path)
    # Milliseconds, because Katib takes the line with the latest time for the latest value.
    formatter = logging.Formatter("%(asctime)s %(levelname)-8s %(message)s")
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    handler.setFormatter(formatter)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)


def _report(settings: Settings, epoch: int, scores: Scores) -> None:
    loss, accuracy = scores
    _log.info("Validation Epoch: %d\taccuracy=%.4f loss=%.4f", epoch, accuracy, loss)
    _log.info(
        "{metricName: accuracy, metricValue: %.4f};{metricName: loss, metricValue: %.4f}",
        accuracy,
        loss,
    )
    if settings.logger == "hypertune":
        path = settings.log_path or Path(os.environ.get("CLOUD_ML_HP_METRIC_FILE", _HYPERTUNE_FILE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for name, value in (("loss", loss), ("accuracy", accuracy)):
                # Katib's JSON collector takes strings; so does the package write them.
                line = {"timestamp": time.time(), name: str(value), "global_step": str(epoch)}
                file.write(json.dumps(line) + "\n")


def _check_data(settings: Settings) -> None:
    """Look for the data while nothing heavy is imported.

    Raises:
        idx.DataError: If it is missing and must not be fetched, or is not what was asked for.
    """
    directory = settings.data_dir
    try:
        found = idx.sizes(directory)
    except idx.DataError as error:
        if settings.download:
            return
        raise idx.DataError(
            f"no data in {directory}: {error}; make it with"
            f" `python3 {_HERE / 'make_digits.py'} {directory}`,"
            " or fetch the real set with --download"
        ) from None
    # torchvision takes any complete set of files for the real one.
    if settings.download and found != _REAL_SIZES:
        raise idx.DataError(
            f"{directory} holds {found[0]} training images, not the real MNIST's"
            f" {_REAL_SIZES[0]}: give --download another --data-dir"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status, see the module's text."""
    settings = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    if os.getpid() == 1:
        # The kernel drops SIGTERM for a container's first process unless it is handled, and the
        # pod of a stopped trial would live through its whole grace period.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    try:
        _check_data(settings)
        _start_logging(settings)
    except (idx.DataError, OSError) as error:
        print(f"mnist.py: {error}", file=sys.stderr)
        return 1
    # A rank that waits for another would print a C++ stack trace at every attempt to connect.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        import training
    except ImportError as error:
        print(
            f"mnist.py: {error.name} is not installed: pip install torch torchvision",
            file=sys.stderr,
        )
        return 1
    if settings.world_size > 1:
        _log.info("rank %d of %d, %s backend", settings.rank, settings.world_size, settings.backend)
    try:
        network = training.train(settings, lambda epoch, scores: _report(settings, epoch, scores))
    except training.TrainingError as error:
        print(f"mnist.py: {error}", file=sys.stderr)
        return 1
    if settings.save_model and settings.rank == 0:
        training.save(network, Path(_MODEL_FILE))
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking PyTorch's libraries down costs seconds, as long as training on a small set.
    os._exit(status)
