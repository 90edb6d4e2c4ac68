"""The examples that come with the package, and the files that each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXAMPLES", "Example"]

_HERE = Path(__file__).parent
_SCRIPTS = ("idx.py", "make_digits.py", "mnist.py", "training.py")
_SEARCHES = ("digits.py", "enas_digits.py", "darts_digits.py")


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        file: Name of its Experiment's file.
        scripts: Names of the files of ``trial_image/`` that its trials run.
        before: The command that makes its data; empty without one.
        options: Options of ``katibflow run`` that it needs.
    """

    file: str
    scripts: tuple[str, ...] = ()
    before: str = ""
    options: str = ""

    def files(self) -> Mapping[str, bytes]:
        """Returns the example's files: path below the folder to write to, and content."""
        found = {self.file: (_HERE / "examples" / self.file).read_bytes()}
        for name in self.scripts:
            found[f"trial_image/{name}"] = (_HERE / "trial_image" / name).read_bytes()
        return found

    def commands(self) -> list[str]:
        """Returns the commands that run the example in the folder that it was written to."""
        run = f"katibflow run {self.file} {self.options}".rstrip()
        return [self.before, run] if self.before else [run]


_DATA = "python trial_image/make_digits.py"
_MAP = "--map /opt/pytorch-mnist=trial_image"

EXAMPLES: Mapping[str, Example] = {
    "mnist": Example("mnist.yaml", _SCRIPTS, _DATA, _MAP),
    "seed": Example("seed.yaml", _SCRIPTS, _DATA, _MAP),
    "sklearn": Example("sklearn.yaml"),
    "hyperband": Example("hyperband.yaml"),
    "metrics-file": Example("metrics-file.yaml"),
    "pareto": Example("pareto.yaml"),
    "enas": Example("enas.yaml", _SEARCHES, options=_MAP),
    "darts": Example("darts.yaml", _SEARCHES, options=_MAP),
}
"""Name to example."""
