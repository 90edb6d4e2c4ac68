"""The extras of katibflow, and the errors that tell a user which one to install.

setup.cfg lists the packages of each extra (``options.extras_require``); here are their modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from katibflow.errors import MissingPackage

__all__ = ["EXTRAS", "missing", "require"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "kfp": ("kfp", "kfp_server_api", "kubernetes"),
    "kubernetes": ("kubernetes",),
    "argo": ("hera", "kubernetes"),
    "nas": ("torch",),
    "torch": ("torch",),
    "notebook": ("pandas",),
    "optunahub": ("optunahub",),
    "dashboard": ("optuna_dashboard",),
    "mlflow": ("mlflow",),
    "gpu": ("pynvml",),
}
"""Extra to its modules. A module of several extras belongs to the last of them in errors."""


def require(extra: str, needed_by: str) -> None:
    """Checks that an extra is installed, without importing its modules.

    Args:
        extra: A key of ``EXTRAS``.
        needed_by: The command that needs the extra, in the user's own terms, as
            ``katibflow compile``.

    Raises:
        MissingPackage: A module of the extra is not installed.
    """
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise MissingPackage(module, needed_by, extra)


def missing(module: str, needed_by: str, extra: str | None = None) -> MissingPackage:
    """Returns the error for a module that cannot be imported.

    Args:
        module: The module's name; also the name for pip, unless an extra installs the module.
        needed_by: The command that needs the module, in the user's own terms.
        extra: The extra to install; None for the last one that has the module.
    """
    extras = [extra for extra, modules in EXTRAS.items() if module in modules]
    return MissingPackage(module, needed_by, extra or (extras[-1] if extras else None))
