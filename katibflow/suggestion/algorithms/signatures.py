"""Derives settings from a class of Optuna: from its constructor's arguments and annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.suggestion.algorithms.base import SettingRule, Settings

__all__ = ["Signature", "signature_of"]


@dataclass(frozen=True)
class Signature:
    """The settings that a constructor takes.

    Attributes:
        rules: Argument to rule, for arguments that a text can express.
        required: Names of the arguments that must be given.
        fixed: Arguments without a default that no text can express, each with None.
    """

    rules: Mapping[str, SettingRule]
    required: tuple[str, ...]
    fixed: Mapping[str, None]

    def arguments(self, settings: Settings) -> dict[str, Any]:
        """Returns the constructor's arguments for settings."""
        return {**self.fixed, **{name: settings[name] for name in self.rules if name in settings}}


def signature_of(kind: Callable[..., Any]) -> Signature:
    """Returns the settings that the constructor of a class takes."""
    rules: dict[str, SettingRule] = {}
    required: list[str] = []
    fixed: dict[str, None] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        words = _words(parameter.annotation)
        has_default = parameter.default is not inspect.Parameter.empty
        if words <= {*_READERS, "None"} and words != {"None"}:
            rules[name] = _rule(words)
            if not has_default:
                required.append(name)
        elif not has_default and "None" in words:
            fixed[name] = None
    return Signature(rules, tuple(required), fixed)


def _words(annotation: object) -> set[str]:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return {word.strip() for word in text.split("|")}


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "bool": ("true or false", _bool),
    "int": ("a whole number", int),
    "float": ("a number", float),
    "str": ("a text", str),
}


def _rule(words: set[str]) -> SettingRule:
    readers = [_READERS[word] for word in _READERS if word in words]

    def read(text: str) -> Any:
        if "None" in words and text.lower() == "none":
            return None
        for _, reader in readers:
            try:
                return reader(text)
            except (KeyError, ValueError):
                continue
        raise ValueError(text)

    allowed = [words for words, _ in readers] + (["none"] if "None" in words else [])
    return SettingRule(" or ".join(allowed), read)
