"""Says where the user's project is, for trials that are processes of this machine."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache

from katibflow.experiment.bootstrap import IMPORTS, PROJECT

__all__ = ["project_folders", "project_variables"]


def project_folders() -> list[str]:
    """Returns the folders from which this process imports modules of the user's own.

    The first one is the working folder. The others are those of ``sys.path`` that no installation
    made: the folder of the script that runs, those of PYTHONPATH, those that a notebook adds.
    """
    here = os.getcwd()
    folders = [here]
    for entry in sys.path:
        path = os.path.abspath(entry)
        is_own = not f"{path}{os.sep}".startswith(_installed())
        if is_own and path not in folders and os.path.isdir(path):
            folders.append(path)
    return folders


@cache
def _installed() -> tuple[str, ...]:
    """Returns the folders of installations, each with a separator at its end."""
    paths = (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
    return tuple(f"{os.path.normpath(path)}{os.sep}" for path in paths)


def project_variables() -> Mapping[str, str]:
    """Returns the variables by which the program of a tuned function finds the project."""
    folders = project_folders()
    return {PROJECT: folders[0], IMPORTS: os.pathsep.join(folders)}
