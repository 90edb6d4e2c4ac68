"""The parts of katibflow that are installed only where they are wanted, and what is said without.

`EXTRAS` is what setup.cfg's ``options.extras_require`` brings, as names to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from katibflow.errors import MissingPackage

__all__ = ["EXTRAS", "missing", "require"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "kfp": ("kfp", "kfp_server_api", "kubernetes", "gjson"),
    "kubernetes": ("kubernetes", "gjson"),
    "torch": ("torch",),
    "notebook": ("pandas",),
    "optunahub": ("optunahub",),
    "dashboard": ("optuna_dashboard",),
}
"""Extra to the modules that come with it; a module of several belongs to the last of them."""


def require(extra: str, needed_by: str) -> None:
    """Checks, without importing anything, that an extra is installed.

    Args:
        extra: A key of ``EXTRAS``.
        needed_by: What asks for it, in the user's own terms, as ``katibflow compile``.

    Raises:
        MissingPackage: It is not, or not all of it.
    """
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise MissingPackage(module, needed_by, extra)


def missing(module: str, needed_by: str) -> MissingPackage:
    """What is said of a module that cannot be imported.

    Args:
        module: Its name, which is also pip's unless an extra brings it.
        needed_by: As of `require`.
    """
    extras = [extra for extra, modules in EXTRAS.items() if module in modules]
    return MissingPackage(module, needed_by, extras[-1] if extras else None)
