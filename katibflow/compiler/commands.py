"""The command of a step: it installs what the step imports, and hands the rest to KFP's executor.

KFP's own command does the same in six times the text, and each character of it stands in Argo's
Workflow object some eight times for every task. A step that is handed the study finds the code of
its component in the library that travels with it, so the command is the same for all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from katibflow.compiler.plain import plain_source
from katibflow.steps.files import LIBRARY

__all__ = ["carried_command", "own_command"]

_PIP = "python3 -m pip install -q"
_MODULE = "p=$(mktemp -d)/step.py"
# With -P a folder that steps run in, as a user's project, hides neither the library nor KFP.
_EXECUTE = 'exec python3 -P -m kfp.dsl.executor_main --component_module_path "$p" "$@"'


def carried_command(name: str, study: str, packages: Sequence[str], kfp: str) -> list[str]:
    """The command of a component whose code is in the library.

    Args:
        name: The component's.
        study: Its input that is the study.
        packages: What pip is to install; nothing where the image has all that is needed.
        kfp: KFP's requirement, which is installed without what it requires: its executor needs
            nothing of that; empty where the image has it.
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


def own_command(source: str, packages: Sequence[str], kfp: str) -> list[str]:
    """The command of a component that stands alone.

    Args:
        source: The function's module, as KFP writes it.
        packages: As of `carried_command`.
        kfp: Likewise.
    """
    function = source[source.index("def ") :]
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
