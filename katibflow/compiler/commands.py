"""Writes the shell command of a step, which installs packages and calls KFP's executor.

KFP's own command does the same in six times the text, and the Workflow object repeats each
character about eight times for every task. A step with the study as input finds its component's
code in the library beside the study, so such steps share one short command. Which packages a step
installs is decided in `requirements`. With the library come the hashes of packages, so its own code
installs them (`katibflow.steps.installing`).
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence

from katibflow.compiler.plain import plain_source
from katibflow.components.in_cluster import read_workflows
from katibflow.components.loading import PACKAGES, load_library
from katibflow.components.unpacking import unpack_library
from katibflow.steps.files import LIBRARY
from katibflow.steps.installing import install

__all__ = ["carried_command", "own_command"]

_PIP = "python3 -m pip install -q"
_MODULE = "p=$(mktemp -d)/step.py"
# -P keeps modules in the working directory, as in a user's image, from hiding our modules or KFP.
_EXECUTE = 'exec python3 -P -m kfp.dsl.executor_main --component_module_path "$p" "$@"'


def carried_command(
    name: str, study: str, packages: Sequence[str], kfp: str, is_packed: bool = False
) -> list[str]:
    """Returns the command of a component whose code is in the library.

    Args:
        name: The component's name.
        study: Name of the component's input that is the study.
        packages: Requirements for pip; none where the image has all packages.
        kfp: KFP's line for pip, installed without KFP's own requirements, which its executor does
            not need; "" where the image has KFP.
        is_packed: Whether the library travels beside the study, and ``packages`` are names of which
            it has the versions and hashes. Where it does not come, as in `kfp.local`, all is there.
    """
    packed = f'[ ! -e "$0/{LIBRARY}" ]||python3 -P -m {install.__module__} {_words(packages)}'
    script = [
        *_installs([] if is_packed else packages, kfp),
        _MODULE,
        'echo from katibflow.components.$1 import $1>"$p"',
        f'export _KFP_RUNTIME=true PYTHONPATH="$0/{LIBRARY}:$PYTHONPATH"',
        *([packed] if is_packed else []),
        "shift",
        _EXECUTE,
    ]
    return ["sh", "-ec", ";".join(script), f"{{{{$.inputs.artifacts['{study}'].path}}}}", name]


def own_command(
    source: str,
    packages: Sequence[str],
    kfp: str,
    loads_library: bool = False,
    is_packed: bool = False,
) -> list[str]:
    """Returns the command of a component whose code is in the command itself.

    Args:
        source: The source text of the function's module, as KFP writes it.
        packages: Requirements for pip; none where the image has all packages.
        kfp: KFP's line for pip, installed without KFP's own requirements; "" where the image has
            KFP.
        loads_library: Whether the function calls `components.loading.load_library`.
        is_packed: Whether that finds a library, which has the versions and hashes of ``packages``.
    """
    function = source[source.index("def ") :]
    imports = "from typing import *\nfrom kfp.dsl import *\n"
    if loads_library:
        imports += plain_source(
            "".join(
                inspect.getsource(each) for each in (unpack_library, read_workflows, load_library)
            ),
            annotated=False,
        )
        imports += "\n"
    script = [
        *_installs([] if is_packed else packages, kfp),
        _MODULE,
        'printf %s "$0">"$p"',
        "export _KFP_RUNTIME=true"
        + (f" {PACKAGES}={shlex.quote(' '.join(packages))}" if is_packed else ""),
        _EXECUTE,
    ]
    return ["sh", "-ec", ";".join(script), imports + plain_source(function)]


def _installs(packages: Sequence[str], kfp: str) -> list[str]:
    lines = [f"{_PIP} {_words(packages)}"] if packages else []
    # Only a file of requirements may have hashes.
    return [*lines, f"echo {shlex.quote(kfp)}|{_PIP} --no-deps -r /dev/stdin"] if kfp else lines


def _words(texts: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, texts))
