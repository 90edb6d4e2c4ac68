"""Says what this machine gives to the processes of trials, beside their manifest."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from katibflow.errors import InputError
from katibflow.runners.local.devices import Gpus
from katibflow.runners.local.paths import PathMap

__all__ = ["SYSTEM", "Host", "parse_python", "read_env_files"]

SYSTEM = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""Variables that a program needs to know the system, and that hold no secret."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Host:
    """The options of a run whose trials are processes of this machine.

    Attributes:
        maps: Container paths and their replacements here.
        projects: Folders in which a relative path of a command is looked for, the first one first;
            none for a pipeline's step.
        python: The interpreter of the trials if the user names one; None: the one that runs this.
        variables: Variables of the user's files of variables, by name.
        has_files: Whether the user gave a file of variables, even an empty one.
        side_by_side: How many trials run at a time, which share the processors.
        gpus: The GPUs that trials share; None if they ask for none.
        is_clean: Whether trials get only the variables of `SYSTEM` from those around this process.
    """

    maps: tuple[PathMap, ...] = ()
    projects: tuple[Path, ...] = ()
    python: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    has_files: bool = False
    side_by_side: int = 1
    gpus: Gpus | None = None
    is_clean: bool = False

    @property
    def around(self) -> Mapping[str, str]:
        """The variables around this process that trials inherit."""
        if not self.is_clean:
            return os.environ
        return {name: os.environ[name] for name in SYSTEM if name in os.environ}

    @property
    def interpreter(self) -> str:
        """The path of the interpreter whose folder is the first one on the trials' PATH."""
        # sys.executable is not resolved, as the link in a venv's bin folder is what selects the
        # venv.
        return self.python or sys.executable

    @property
    def search_path(self) -> str:
        """PATH with the interpreter's folder first, for its own python3 and torchrun."""
        first = os.path.dirname(self.interpreter)
        return os.pathsep.join([first, os.environ.get("PATH", os.defpath)])

    def known(self, name: str) -> str | None:
        """Returns the value that a variable has here: in the user's files, or else around us."""
        return self.variables.get(name, os.environ.get(name))


def parse_python(text: str) -> str:
    """Returns the absolute path of the interpreter that the option ``--python`` names.

    Args:
        text: The path of an interpreter, the folder of a virtual environment, or the name of a
            program on PATH.

    Raises:
        InputError: There is no such interpreter.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    elif "/" not in text:
        found = shutil.which(text)
        path = Path(found) if found else path
    if not path.is_file() or not os.access(path, os.X_OK):
        raise InputError(
            f'--python: found "{text}"; allowed: the path of an interpreter, the folder of a '
            "virtual environment, or a program on PATH"
        )
    return str(path.absolute())


def read_env_files(paths: Sequence[str | Path]) -> dict[str, str]:
    """Reads files of variables, one ``NAME=VALUE`` a line; a later file replaces an earlier one's.

    Empty lines and lines that begin with ``#`` are skipped, and so is a word ``export`` in front.
    A value may be in single or double quotes; nothing in it is expanded.

    Raises:
        InputError: A file cannot be read, or a line is no variable.
    """
    variables: dict[str, str] = {}
    for path in paths:
        try:
            lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text in UTF-8"
            raise InputError(f"--env-file {path}: cannot be read: {reason}") from error
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            name, separator, value = text.removeprefix("export ").partition("=")
            if not separator or not _NAME.fullmatch(name.strip()):
                # The line may hold a secret, so it is not shown.
                raise InputError(
                    f"--env-file {path}: line {number}: found no NAME=VALUE; allowed: a name of "
                    "letters, digits and _, first no digit, an =, and a value"
                )
            variables[name.strip()] = _unquoted(value.strip())
    return variables


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value
