"""Reads YAML into plain data as Kubernetes does, but leaves numbers as the user wrote them.

This module knows YAML and not what an Experiment is: its types and rules are elsewhere. PyYAML
speaks YAML 1.1 and is lenient; Kubernetes turns YAML into JSON. Where they differ, this module
follows Kubernetes. A mapping has each key once, and keys are text. Dates, numbers of base 60
(``1:30``) and infinite numbers are text, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from katibflow.errors import Fault, InputError

__all__ = [
    "dump_document",
    "found",
    "in_file_order",
    "mapping",
    "read_document",
    "read_documents",
    "read_file",
    "some_of",
]

MAX_FILE_BYTES = 2_000_000
MAX_DEPTH = 100
MAX_VALUES = 30_000
"""Values of a text; those behind an alias or a merge key count each time that it stands there."""
MAX_CHARACTERS = 4_000_000
"""Characters of all values of a text, counted in the same way."""
_MOST_WORDS = 100

_TEXT_FIELD = re.compile(
    r"\.spec\.(parameters\[\d+\]\.(feasibleSpace\.(min|max|step|list\[\d+\])|when\..+)"
    r"|(algorithm|earlyStopping)\.algorithmSettings\[\d+\]\.value"
    r"|trialTemplate\.trialParameters\[\d+\]\.default)"
)
"""The fields where Katib wants text and people write numbers, which stay as written (3.10)."""


class _Loader(yaml.CSafeLoader):
    """Loads safe YAML and constructs values as Kubernetes does."""


class _Integer(int):
    """An integer with the text that it was written as."""

    text: str


class _Float(float):
    """A number with the text that it was written as."""

    text: str


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    merged: list[dict[str, Any]] = []
    own: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            merged += _merged(loader, value_node)
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "found a key that is a mapping or a list", key_node.start_mark
            )
        key = _key(loader.construct_object(key_node))
        if key in own:
            raise yaml.constructor.ConstructorError(
                None, None, f"found the key {key!r} twice", key_node.start_mark
            )
        own[key] = loader.construct_object(value_node, deep=True)
    values: dict[str, Any] = {}
    for mapping in reversed(merged):
        values.update(mapping)
    return values | own


def _merged(loader: Any, node: yaml.Node) -> list[dict[str, Any]]:
    """Returns the mappings behind a ``<<``, of which the first with a key wins.

    YAML's merge keys say so. In PyYAML 6.0.4 a later mapping wins, and a merged key wins over the
    mapping's own.
    """
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for each in nodes:
        if not isinstance(each, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "found a merge (<<) of what is no mapping", each.start_mark
            )
    return [loader.construct_object(each, deep=True) for each in nodes]


def _key(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _text(loader: Any, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _integer(loader: Any, node: yaml.ScalarNode) -> _Integer | str:
    text = _text(loader, node)
    if ":" in text:
        return text
    number = _Integer(loader.construct_yaml_int(node))
    number.text = text if _says(text, number) else int.__repr__(number)
    return number


def _float(loader: Any, node: yaml.ScalarNode) -> _Float | str:
    text = _text(loader, node)
    if ":" in text:
        return text
    number = _Float(loader.construct_yaml_float(node))
    if not math.isfinite(number):
        return text
    number.text = text if _says(text, number) else float.__repr__(number)
    return number


def _says(text: str, number: float) -> bool:
    """Returns whether the text means this number to any reader; 010 and 1_000 do not."""
    try:
        return "_" not in text and float(text) == number
    except ValueError:
        return False


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def read_file(path: Path) -> str:
    """Returns the text of a user's file.

    Raises:
        InputError: The file does not exist, is no regular file, cannot be read, is not UTF-8 or has
            more than 2 MB.
    """
    try:
        if not path.is_file():
            what = (
                "a folder"
                if path.is_dir()
                else "no regular file"
                if path.exists()
                else "no such file"
            )
            raise InputError(f"{path}: {what}; allowed: an Experiment's YAML file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"{path}: found {path.stat().st_size} bytes; allowed: at most {MAX_FILE_BYTES}"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text: {error}; allowed: an Experiment's YAML"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Dumper(yaml.SafeDumper):
    """Writes safe YAML, with texts of several lines as blocks."""


def _block(dumper: Any, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


_Dumper.add_representer(str, _block)


def dump_document(document: Mapping[str, Any]) -> str:
    """Returns plain data as YAML, in the data's own order."""
    text: str = yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def read_document(text: str, source: str) -> dict[str, Any]:
    """Returns the one mapping in a YAML text as plain data.

    Args:
        text: The YAML.
        source: The name of the text's origin in errors.

    Raises:
        InputError: The text is no YAML, has a key twice in one mapping, has several documents or no
            mapping, or is more nested or (through aliases) larger than any Experiment is.
    """
    documents = read_documents(text, source)
    if len(documents) != 1:
        raise InputError(f"{source}: found {len(documents)} documents; allowed: one YAML mapping")
    return documents[0]


def read_documents(text: str, source: str) -> list[dict[str, Any]]:
    """Returns the mappings in a YAML text as plain data, one at least; those of a ``List`` singly.

    Args:
        text: The YAML.
        source: The name of the text's origin in errors.

    Raises:
        InputError: The text is no YAML, has a key twice in one mapping, has no document or one that
            is no mapping, or is more nested or (through aliases) larger than any Experiment is.
    """
    try:
        _check_size(text, source)
        documents = [doc for doc in yaml.load_all(text, Loader=_Loader) if doc is not None]
        objects = [each for document in documents for each in _items(document)]
        wrong = next((each for each in objects if not isinstance(each, dict)), None)
        if not objects or wrong is not None:
            what = found(wrong) if objects else "0 documents"
            raise InputError(f"{source}: found {what}; allowed: one Experiment (a YAML mapping)")
        plain = [_plain(each, "", source) for each in objects]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{where}: not YAML: {error.problem or error}") from error
    except RecursionError as error:
        raise InputError(f"{source}: found aliases that refer to themselves") from error
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        # PyYAML's own constructors raise these for a tag that does not fit its value.
        raise InputError(f"{source}: not YAML: {error}") from error
    return [each for each in plain if isinstance(each, dict)]


def _items(document: Any) -> list[Any]:
    if isinstance(document, dict) and document.get("kind") == "List":
        items = document.get("items")
        if isinstance(items, list) and items:
            return items
    return [document]


def _check_size(text: str, source: str) -> None:
    """Checks how deep and how large the YAML is, before PyYAML loads it.

    Deep YAML crashes the process, and aliases make a small text large. So this follows the events
    of the text alone, and takes a time that is bounded by `MAX_VALUES` of them.
    """
    size = _Size()
    for event in yaml.parse(text, Loader=_Loader):
        wrong = size.after(event)
        if wrong:
            mark: Any = event.start_mark
            raise InputError(
                f"{source}, line {mark.line + 1}: {wrong}; allowed: an Experiment's YAML"
            )


class _Size:
    """Counts the values and the characters that a YAML text stands for, event by event."""

    def __init__(self) -> None:
        self._now = (0, 0)
        self._open: list[tuple[str | None, tuple[int, int]]] = []
        self._anchors: dict[str, tuple[int, int]] = {}

    def after(self, event: object) -> str:
        """Counts an event; returns what is too large by now, or nothing."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
            self._add(1, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self._now))
            self._add(1, 0)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(1, len(event.value))
            if event.anchor:
                self._anchors[event.anchor] = (1, len(event.value))
        elif isinstance(event, yaml.AliasEvent):
            # One inside of its own value, or of no value, is an error of its own when it is loaded.
            self._add(*self._anchors.get(str(event.anchor), (1, 0)))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor:
                self._anchors[anchor] = (self._now[0] - before[0], self._now[1] - before[1])
        return self._too_large()

    def _add(self, values: int, characters: int) -> None:
        self._now = (self._now[0] + values, self._now[1] + characters)

    def _too_large(self) -> str:
        if len(self._open) > MAX_DEPTH:
            return f"found values nested deeper than {MAX_DEPTH}"
        for count, most, what in zip(
            self._now, (MAX_VALUES, MAX_CHARACTERS), ("values", "characters"), strict=True
        ):
            if count > most:
                return f"found more than {most} {what}, those behind aliases counted each time"
        return ""


def _plain(value: object, path: str, source: str) -> object:
    """Turns constructed YAML into dicts, lists, str, int, float, bool and None."""
    if isinstance(value, dict):
        return {key: _plain(item, f"{path}.{key}", source) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]", source) for index, item in enumerate(value)]
    if isinstance(value, _Integer | _Float):
        if _TEXT_FIELD.fullmatch(path):
            return value.text
        return int(value) if isinstance(value, _Integer) else float(value)
    if value is None or isinstance(value, str | bool):
        return value
    raise InputError(
        f"{source}: {path[1:]}: found a YAML {type(value).__name__}; "
        "allowed: a mapping, a list, text, a number, true or false"
    )


def mapping(value: object) -> Mapping[str, Any]:
    """Returns the value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def found(value: object) -> str:
    """Returns a short text for a value of a user's file, at most 60 characters for a scalar."""
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:5]))
        return f"a mapping with the keys {keys}" if keys else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing (null)"
    if isinstance(value, str):
        text = f'"{value}"'
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def some_of(words: Sequence[str]) -> str:
    """Returns words as a list for a sentence; of more than 100 the first ones and their number."""
    if len(words) <= _MOST_WORDS:
        return ", ".join(words)
    return f"{', '.join(words[:_MOST_WORDS])} and {len(words) - _MOST_WORDS} more"


def in_file_order(faults: Iterable[Fault], document: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Returns the faults in the order of their fields in the document, each fault once.

    A missing field comes after all other fields of its mapping.
    """
    order = _Order()
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: order.of(fault.path, document)))


class _Order:
    """Finds the positions of paths in one document; it numbers the keys of a mapping once."""

    def __init__(self) -> None:
        self._keys: dict[int, dict[str, tuple[int, object]]] = {}

    def of(self, path: str, document: Mapping[str, Any]) -> tuple[int, ...]:
        position: list[int] = []
        value: object = document
        rest = path
        while rest:
            if isinstance(value, Mapping):
                keys = self._numbered(value)
                # A key may contain dots, so the path means the longest key that fits.
                ends = [match.start() for match in re.finditer(r"[.\[]|$", rest)]
                key = next((rest[:end] for end in reversed(ends) if rest[:end] in keys), None)
                if key is None:
                    return (*position, len(keys))
                number, value = keys[key]
                position.append(number)
                rest = rest[len(key) :].removeprefix(".")
            elif isinstance(value, list) and (step := re.match(r"\[(\d+)\]\.?", rest)):
                position.append(int(step[1]))
                value = value[position[-1]] if position[-1] < len(value) else None
                rest = rest[step.end() :]
            else:
                break
        return tuple(position)

    def _numbered(self, value: Mapping[str, Any]) -> dict[str, tuple[int, object]]:
        if id(value) not in self._keys:
            items = enumerate(value.items())
            self._keys[id(value)] = {str(key): (number, item) for number, (key, item) in items}
        return self._keys[id(value)]
