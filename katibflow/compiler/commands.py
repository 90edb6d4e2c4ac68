"""The command of a step: it installs what the step imports, and hands the rest to KFP's executor.

KFP's own command does the same in four times the text, and each character of it stands in Argo's
Workflow object some eight times for every task.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from katibflow.compiler.plain import plain_source

__all__ = ["step_command"]

_IMPORTS = "from typing import *\nfrom kfp.dsl import *\n"
"""What the annotations of a component are made of."""

_PIP = "python3 -m pip install -q"

_RUN = (
    'p=$(mktemp -d)/step.py;printf %s "$0">$p;export _KFP_RUNTIME=true;'
    'exec python3 -m kfp.dsl.executor_main --component_module_path $p "$@"'
)


def step_command(source: str, packages: Sequence[str], kfp: str) -> list[str]:
    """The command that runs a component's function.

    Args:
        source: The function's module, as KFP writes it.
        packages: What pip is to install; nothing where the image has all that is needed.
        kfp: KFP's requirement, which is installed without what it requires: its executor needs
            nothing of that; empty where the image has it.
    """
    function = source[source.index("def ") :]
    installs = []
    if packages:
        installs.append(f"{_PIP} {' '.join(map(shlex.quote, packages))}")
    if kfp:
        installs.append(f"{_PIP} --no-deps {shlex.quote(kfp)}")
    script = ";".join([*installs, _RUN])
    return ["sh", "-ec", script, _IMPORTS + plain_source(function)]
