"""How soon the command line answers: the import of katibflow, ``validate`` and ``compile``.

    python benchmarks/bench_start.py [--runs 10]

Wall seconds of whole processes, the median of the runs, beside an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.table import Row, lines

SEED = Path(__file__).parent.parent / "examples" / "seed.yaml"
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "nothing": ([sys.executable, "-c", ""], None),
    "import katibflow": ([sys.executable, "-c", "import katibflow"], 0.15),
    "validate": ([sys.executable, "-m", "katibflow", "validate", str(SEED)], 0.6),
    "import kfp": ([sys.executable, "-c", "import kfp.compiler"], None),
    "compile": ([sys.executable, "-m", "katibflow", "compile", str(SEED), "-o", "out.yaml"], 2.0),
}


def wall(command: list[str], folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - begin


def medians(runs: int) -> dict[str, float]:
    """Returns the median wall seconds of each command."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with TemporaryDirectory() as folder:
        for _ in range(runs + 1):  # in turn, so that a slow moment of the machine meets all of them
            for name, (command, _target) in COMMANDS.items():
                seconds[name].append(wall(command, folder))
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def rows(runs: int = 10) -> Iterator[Row]:
    """Yields the seconds of each command, and its ratio to an interpreter that does nothing."""
    found = medians(runs)
    for name, (_, target) in COMMANDS.items():
        measured = f"median of {runs}; {found[name] / found['nothing']:.1f} x an empty interpreter"
        yield Row(name, measured, found[name], "s", target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    for line in lines(rows(parser.parse_args().runs)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
