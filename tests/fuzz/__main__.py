"""Feeds every reader with its corpus and with changed copies of it, for a minute in all.

``python -m tests.fuzz [SECONDS] [SEED]``. An input that a reader does not stand is written to the
working folder, and belongs into the corpus once the reader is mended.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import TARGETS

_CORPUS = Path(__file__).parent / "corpus"
_LIMIT = 2.0
"""Seconds of the processor that one input may take."""
_TOKENS = (
    *(b"${trialParameters.", b"<<: *a", b"&a ", b"*a", b"\x1b]52;", b"\xff", b"1e999", b"9" * 500),
    *(b"{{", b"[" * 200, b"\n", b"null", b"NaN", b'"', b"#(", b"..", b"|", b"\x00"),
)


def _changed(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 6)):
        at, end = sorted(chance.randint(0, len(data)) for _ in range(2))
        end = min(end, at + 200)
        other = chance.choice(others)
        begin = chance.randint(0, len(other))
        piece = chance.choice(
            [
                b"",
                data[at:end] * chance.choice([2, 50]),
                chance.randbytes(chance.randint(1, 8)),
                chance.choice(_TOKENS) * chance.choice([1, 1, 500]),
                other[begin : begin + 200],
            ]
        )
        data = (data[:at] + piece + data[end:])[:2_000_000]
    return data


def main(seconds: float, seed: int) -> int:
    """Returns the number of readers that failed."""
    failed = 0
    for name, read in TARGETS.items():
        chance = random.Random(f"{seed}/{name}")
        corpus = [path.read_bytes() for path in sorted((_CORPUS / name).iterdir())]
        waiting, count, until = list(corpus), 0, time.monotonic() + seconds / len(TARGETS)
        while waiting or time.monotonic() < until:
            data = waiting.pop() if waiting else _changed(chance.choice(corpus), corpus, chance)
            begun = time.process_time()
            try:
                read(data)
                took = time.process_time() - begun
                assert took < _LIMIT, f"took {took:.1f} s"
            except Exception:
                path = Path(f"fuzz-{name}-{seed}-{count}")
                path.write_bytes(data)
                print(f"{name}: {path}\n{traceback.format_exc()}")
                failed += 1
                break
            count += 1
        print(f"{name}: {count} inputs, {len(corpus)} of them the corpus")
    return failed


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 60.0, int(given[1]) if given[1:] else time.time_ns()))
