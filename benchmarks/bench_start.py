"""How soon the command line answers: the import of katibflow, and ``katibflow validate``.

    python benchmarks/bench_start.py [--runs 10]

Wall seconds of whole processes, the median of the runs, beside an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SEED = Path(__file__).parent.parent / "examples" / "seed.yaml"
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "nothing": ([sys.executable, "-c", ""], None),
    "import katibflow": ([sys.executable, "-c", "import katibflow"], 0.15),
    "validate": ([sys.executable, "-m", "katibflow", "validate", str(SEED)], 0.6),
}


def wall(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):  # in turn, so that a slow moment of the machine meets all of them
        for name, (command, _target) in COMMANDS.items():
            seconds[name].append(wall(command))
    base = statistics.median(seconds["nothing"][1:])
    for name, (_, target) in COMMANDS.items():
        median = statistics.median(seconds[name][1:])
        goal = f"   (target: at most {target} s)" if target else ""
        print(f"{name:<18}{median:8.3f} s {median / base:8.1f} x nothing{goal}")


if __name__ == "__main__":
    main()
