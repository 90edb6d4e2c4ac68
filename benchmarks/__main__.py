"""Prints the benchmarks as one table.

    python -m benchmarks [NAME ...]

A name is one of `MODULES`, without ``bench_``; by default all run. The exit status is 1 if a target
is not met, or a benchmark could not run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module

from benchmarks.table import Row, lines

MODULES = ("engine", "folders", "local", "suggest", "report", "kubernetes", "start")
"""The modules ``bench_<name>``, each with ``rows() -> Iterable[Row]``, in the table's order."""


def measured(names: list[str], missed: list[str]) -> Iterator[Row]:
    """Yields the rows of the benchmarks of these names; lists what failed or missed its target."""
    for name in names:
        try:
            for row in import_module(f"benchmarks.bench_{name}").rows():
                if not row.is_met:
                    missed.append(row.name)
                yield row
        except Exception as error:  # the others are measured all the same
            missed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODULES))
    names = parser.parse_args().names or list(MODULES)
    if unknown := [name for name in names if name not in MODULES]:
        parser.error(f"found {', '.join(unknown)}; allowed: {', '.join(MODULES)}")
    missed: list[str] = []
    for line in lines(measured(names, missed)):
        print(line, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
