"""Writes the shell command of a step, which installs packages and calls KFP's executor.

KFP's own command does the same in six times the text, and the Workflow object repeats each
character about eight times for every task. A step with the study as input finds its component's
code in the library beside the study, so such steps share one short command. Which packages a step
installs is decided in `requirements`.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence

from katibflow.compiler.plain import plain_source
from katibflow.components.loading import load_library
from katibflow.components.unpacking import unpack_library
from katibflow.steps.files import LIBRARY

__all__ = ["carried_command", "own_command"]

_PIP = "python3 -m pip install -q"
_MODULE = "p=$(mktemp -d)/step.py"
# -P keeps modules in the working directory, as in a user's image, from hiding our modules or KFP.
_EXECUTE = 'exec python3 -P -m kfp.dsl.executor_main --component_module_path "$p" "$@"'


def carried_command(name: str, study: str, packages: Sequence[str], kfp: str) -> list[str]:
    """Returns the command of a component whose code is in the library.

    Args:
        name: The component's name.
        study: Name of the component's input that is the study.
        packages: Requirements for pip; none where the image has all packages.
        kfp: KFP's requirement, installed without KFP's own requirements, which its executor does
            not need; "" where the image has KFP.
    """
    script = [
        *_installs(packages, kfp),
        _MODULE,
        'echo from katibflow.components.$1 import $1>"$p"',
        f'export _KFP_RUNTIME=true PYTHONPATH="$0/{LIBRARY}:$PYTHONPATH"',
        "shift",
        _EXECUTE,
    ]
    return ["sh", "-ec", ";".join(script), f"{{{{$.inputs.artifacts['{study}'].path}}}}", name]


def own_command(
    source: str, packages: Sequence[str], kfp: str, loads_library: bool = False
) -> list[str]:
    """Returns the command of a component whose code is in the command itself.

    Args:
        source: The source text of the function's module, as KFP writes it.
        packages: Requirements for pip; none where the image has all packages.
        kfp: KFP's requirement, installed without KFP's own requirements; "" where the image has
            KFP.
        loads_library: Whether the function calls `components.loading.load_library`.
    """
    function = source[source.index("def ") :]
    if loads_library:
        loading = (inspect.getsource(each) for each in (unpack_library, load_library))
        function = "\n".join([*loading, function])
    imports = "from typing import *\nfrom kfp.dsl import *\n"
    script = [
        *_installs(packages, kfp),
        _MODULE,
        'printf %s "$0">"$p"',
        "export _KFP_RUNTIME=true",
        _EXECUTE,
    ]
    return ["sh", "-ec", ";".join(script), imports + plain_source(function)]


def _installs(packages: Sequence[str], kfp: str) -> list[str]:
    lines = [f"{_PIP} {' '.join(map(shlex.quote, packages))}"] if packages else []
    return [*lines, f"{_PIP} --no-deps {shlex.quote(kfp)}"] if kfp else lines
