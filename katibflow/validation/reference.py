"""Writes the reference of the Experiment, from the models that read it, as Markdown.

``python -m katibflow.validation.reference > docs/experiment.md``; a test compares.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from katibflow.experiment.types import Experiment, Model

__all__ = ["experiment_page"]

_HEAD = (
    "# The Experiment\n",
    "Made by `python -m katibflow.validation.reference` from the models that read a file, and "
    "compared with them by a test. A key that is not here is a fault, which `katibflow validate` "
    "names with its path. What compares fields with each other is said by the fault itself; "
    "[katib.md](katib.md) says where Katib differs.\n",
)


def experiment_page() -> str:
    """Returns the page: each model of the file with its fields."""
    return "\n".join([*_HEAD, *_sections(Experiment, "the file", set())]).rstrip() + "\n"


def _sections(model: type[Model], path: str, seen: set[type[Model]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    yield f"## {path}\n"
    yield " ".join(inspect.cleandoc(model.__doc__ or "").split()).replace("``", "`") + "\n"
    yield "| field | value | default |\n| --- | --- | --- |"
    below: list[tuple[type[Model], str]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        limits = [text for each in field.metadata if (text := _limit(each))]
        value = "; ".join([_type(field.annotation), *limits])
        required = field.is_required()
        default = "required" if required else _default(field.get_default(call_default_factory=True))
        yield f"| `{key}` | {value} | {default} |"
        is_list = any(get_origin(each) is tuple for each in _parts(field.annotation))
        inner = f"{key}[]" if is_list else key
        at = inner if path == "the file" else f"{path}.{inner}"
        below += [(each, at) for each in _models(field.annotation)]
    yield ""
    for each, at in below:
        yield from _sections(each, at, seen)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Returns the alternatives of a type."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for each in get_args(annotation) for part in _parts(each))
    return (annotation,)


def _models(annotation: Any) -> Iterator[type[Model]]:
    for each in _parts(annotation):
        if isinstance(each, type) and issubclass(each, Model):
            yield each
        elif get_origin(each) is tuple:
            yield from _models(get_args(each)[0])


_WORDS: Mapping[Any, str] = {str: "text", int: "integer", float: "number", bool: "true or false"}


def _type(annotation: Any) -> str:
    return " or ".join(
        dict.fromkeys(_word(each) for each in _parts(annotation) if each is not type(None))
    )


def _word(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if origin is tuple:
        return f"list of {_type(get_args(kind)[0])}"
    if origin is dict:
        return "mapping of texts" if get_args(kind)[1] is str else "mapping"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    if isinstance(kind, type) and issubclass(kind, Model):
        return "mapping, below"
    return _WORDS.get(kind, "any")


def _limit(constraint: Any) -> str:
    """Returns a limit of a field in words, or "" for what is no limit."""
    for name, words in (("min_length", "not empty"), ("ge", "at least"), ("gt", "above")):
        if (limit := getattr(constraint, name, None)) is not None:
            return words if name == "min_length" else f"{words} {limit}"
    return ""


def _default(value: Any) -> str:
    if value is None or isinstance(value, Model) or value in ((), {}, ""):
        return ""
    plain = value.value if isinstance(value, enum.Enum) else value
    return f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


if __name__ == "__main__":
    sys.stdout.write(experiment_page())
