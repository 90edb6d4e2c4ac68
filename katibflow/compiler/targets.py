"""The engines that a compiled Experiment runs in, and the options that only one of them has."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from katibflow.errors import InputError

__all__ = ["Target", "check_options", "target_of"]


class Target(StrEnum):
    """What runs a compiled Experiment."""

    KFP = "kfp"
    ARGO = "argo"


_OPTIONS: Mapping[Target, tuple[str, ...]] = {
    Target.KFP: ("--host", "--ca-file", "--kfp-experiment"),
    Target.ARGO: ("--as", "--schedule", "--service-account", "--artifacts", "--argo-version"),
}
"""Options of one target alone; `katibflow submit` has some of them for both, and asks not."""


def target_of(name: str, option: str) -> Target:
    """Returns the target of a name.

    Args:
        name: The name.
        option: The option that has it, for the error.

    Raises:
        InputError: There is none.
    """
    if name not in list(Target):
        raise InputError(f"{option}: found {name}; allowed: {', '.join(Target)}")
    return Target(name)


def check_options(target: Target, given: Mapping[str, object], option: str) -> None:
    """Checks that no option of another target is given.

    Args:
        target: The target.
        given: Values by option; None and False for options that are not given.
        option: The option that names the target, for the error.

    Raises:
        InputError: One is.
    """
    for other, names in _OPTIONS.items():
        for name in names:
            value = given.get(name)
            if other is not target and value not in (None, False):
                found = "it" if value is True else value
                raise InputError(f"{name}: found {found}; allowed: only with {option} {other}")
