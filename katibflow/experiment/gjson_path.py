"""Reads GJSON, the language of a template's conditions, into paths that can be followed.

A path that GJSON takes and that can never lead to a value is an error here: an empty key, a bracket
or a quote that is not closed, a text in single quotes, a modifier that does not exist. GJSON itself
has no errors; a trial with such a condition would never end.

What follows a path in a job is in `runners.kubernetes.gjson_values`.

Source: GJSON's SYNTAX.md (tidwall/gjson); where that is silent, what gjson 1.18 does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = [
    "MODIFIERS",
    "Each",
    "Key",
    "Literal",
    "Modifier",
    "Multipath",
    "Path",
    "Query",
    "Step",
    "path_of",
]

MODIFIERS = (
    *("flatten", "fromstr", "group", "join", "keys", "pretty", "reverse", "this", "tostr"),
    *("ugly", "valid", "values"),
)
"""The modifiers that Katib's GJSON has."""

_LONGEST = 2_000
_DEEPEST = 20
_OPERATORS = ("==", "!=", "!%", "<=", ">=", "=", "<", ">", "%")
_TRUTHS = ("~true", "~false", "~null", "~*")
_NOT_IN_KEYS = "()[]{}\"'"


@dataclass(frozen=True)
class Key:
    """A key of an object, or an index of an array.

    Attributes:
        name: The key without escapes.
        pattern: The key's signs, each with whether it is a wildcard; empty for a plain key.
    """

    name: str
    pattern: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class Each:
    """``#``: the length of an array, or with ``rest`` what that leads to in each item."""

    rest: Path | None


@dataclass(frozen=True)
class Query:
    """``#(...)`` or ``#(...)#``: the first item, or all items, for which a comparison holds.

    Attributes:
        path: The path within an item to what is compared; None for the item itself.
        operator: One of ``= != < <= > >= % !%``; empty if the path only has to lead somewhere.
        value: The text on the right, without quotes.
        every: Whether the result is an array of all matches.
        rest: The path that is followed within each match; None for the match itself.
    """

    path: Path | None
    operator: str
    value: str
    every: bool
    rest: Path | None


@dataclass(frozen=True)
class Modifier:
    """``@name:argument``."""

    name: str
    argument: Any = None


@dataclass(frozen=True)
class Multipath:
    """``[path,path]`` or ``{name:path,path}``; the names are empty in the former."""

    is_object: bool
    items: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class Literal:
    """``!value``: a JSON value that stands in the path itself."""

    value: Any


Step = Key | Each | Query | Modifier | Multipath | Literal


@dataclass(frozen=True)
class Path:
    """A whole path.

    Attributes:
        parts: The parts between pipes, each as steps. A modifier and a multipath begin a part.
        is_lines: Whether the path begins with ``..``, for which the document is one of many lines.
    """

    parts: tuple[tuple[Step, ...], ...]
    is_lines: bool = False


def path_of(text: str) -> Path:
    """Returns the path that a text is.

    Raises:
        ValueError: The text is no GJSON, or can never lead to a value; the message says what was
            found and where, as "an empty key at character 3".
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text)} characters; at most {_LONGEST} are read")
    reader = _Reader(text)
    is_lines = text.startswith("..")
    reader.at = 2 if is_lines else 0
    path = reader.path("")
    if reader.at < len(text):
        raise reader.error(f"{text[reader.at]} that opens nothing")
    return Path(path.parts, is_lines)


class _Reader:
    """Reads one text from its start to its end; ``at`` is the index of the next sign."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self.at = 0

    def error(self, what: str, at: int | None = None) -> ValueError:
        place = self.at if at is None else at
        where = f"at character {place + 1}" if place < len(self._text) else "at the end"
        return ValueError(f"{what} {where}")

    def path(self, stops: str) -> Path:
        """Reads a path up to one of the signs in ``stops``, or to the end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.error(f"brackets nested deeper than {_DEEPEST}")
        parts: list[tuple[Step, ...]] = []
        steps: list[Step] = []
        begins = True
        while True:
            step = self._step(stops, begins)
            if isinstance(step, Modifier | Multipath) and steps:
                parts.append(tuple(steps))
                steps = []
            steps.append(step)
            sign = self._next()
            if not sign or sign in stops:
                parts.append(tuple(steps))
                self._depth -= 1
                return Path(tuple(parts))
            if sign not in ".|":
                raise self.error(f"{sign} where . or | has to follow")
            self.at += 1
            begins = sign == "|"
            if begins:
                parts.append(tuple(steps))
                steps = []

    def _next(self) -> str:
        return self._text[self.at : self.at + 1]

    def _step(self, stops: str, begins: bool) -> Step:
        sign = self._next()
        if sign == "@":
            return self._modifier(stops)
        if sign and sign in "[{":
            return self._multipath()
        if sign == "!" and begins and sign not in stops:
            return self._literal(stops)
        if sign == "#":
            return self._array_step(stops)
        return self._key(stops)

    def _key(self, stops: str) -> Key:
        start = self.at
        signs: list[tuple[str, bool]] = []
        while (sign := self._next()) and sign not in ".|" and sign not in stops:
            if sign == "\\":
                self.at += 1
                sign = self._next()
                if not sign:
                    raise self.error("a backslash with nothing after it")
                signs.append((sign, False))
            elif sign in _NOT_IN_KEYS or sign.isspace():
                raise self.error(f"{'a blank' if sign.isspace() else sign} in a key")
            else:
                signs.append((sign, sign in "*?"))
            self.at += 1
        if not signs:
            raise self.error("an empty key", start)
        is_pattern = any(wild for _, wild in signs)
        return Key("".join(sign for sign, _ in signs), tuple(signs) if is_pattern else ())

    def _array_step(self, stops: str) -> Step:
        start = self.at
        self.at += 1
        sign = self._next()
        if sign and sign in "([":
            return self._query(start, stops)
        if sign and sign not in ".|" and sign not in stops:
            raise self.error(f"{sign} after #")
        return Each(self._rest(stops))

    def _rest(self, stops: str) -> Path | None:
        """Reads what follows a dot, up to a pipe; it holds for each item of an array."""
        if self._next() != ".":
            return None
        self.at += 1
        return self.path(stops + "|")

    def _query(self, start: int, stops: str) -> Query:
        self.at += 1
        self._blanks()
        path, operator, value = None, "", ""
        if self._next() not in (*"=!<>%)]", ""):
            path = self.path("=!<>%)] ")
            self._blanks()
        if self._next() not in (*")]", ""):
            operator = self._operator()
            self._blanks()
            value = self._value()
        if not self._next():
            raise self.error("a bracket that is not closed", start)
        self.at += 1
        every = self._next() == "#"
        self.at += every
        sign = self._next()
        if sign and sign not in ".|" and sign not in stops:
            raise self.error(f"{sign} after a query")
        return Query(path, operator, value, every, self._rest(stops))

    def _operator(self) -> str:
        for operator in _OPERATORS:
            if self._text.startswith(operator, self.at):
                self.at += len(operator)
                return "=" if operator == "==" else operator
        raise self.error(f"{self._next()} where one of {' '.join(_OPERATORS)} has to follow")

    def _value(self) -> str:
        """Reads the right side of a comparison, up to the bracket that closes the query."""
        start = self.at
        if self._next() == "'":
            raise self.error("a text in single quotes (GJSON has double quotes)")
        if self._next() == '"':
            value = self._quoted()
            self._blanks()
            if self._next() not in (*")]", ""):
                raise self.error(f"{self._next()} after a text in quotes")
        else:
            depth = 0
            while (sign := self._next()) and (depth or sign not in ")]"):
                depth += (sign in "([") - (sign in ")]")
                self.at += 2 if sign == "\\" else 1
            self.at = min(self.at, len(self._text))
            value = self._text[start : self.at].strip()
        if value.startswith("~") and value not in _TRUTHS:
            raise self.error(f"{value}, which is none of {', '.join(_TRUTHS)},", start)
        return value

    def _quoted(self) -> str:
        start = self.at
        self.at += 1
        while (sign := self._next()) and sign != '"':
            self.at += 2 if sign == "\\" else 1
        if not sign:
            raise self.error("a quote that is not closed", start)
        self.at += 1
        quoted = self._text[start : self.at]
        try:
            return str(json.loads(quoted, strict=False))
        except ValueError:
            # GJSON takes an escape that JSON has not for nothing; patterns use \* and \?.
            return quoted[1:-1]

    def _modifier(self, stops: str) -> Modifier:
        start = self.at
        self.at += 1
        while (sign := self._next()) and sign not in ":.|" and sign not in stops:
            self.at += 1
        name = self._text[start + 1 : self.at]
        if name not in MODIFIERS:
            known = ", ".join(f"@{each}" for each in MODIFIERS)
            raise self.error(f"@{name}, which is none of {known},", start)
        if self._next() != ":":
            return Modifier(name)
        self.at += 1
        if self._next() in (*'{["',):
            return Modifier(name, self._json())
        start = self.at
        while (sign := self._next()) and sign != "|" and sign not in stops:
            self.at += 1
        return Modifier(name, self._text[start : self.at])

    def _json(self) -> Any:
        try:
            value, self.at = json.JSONDecoder().raw_decode(self._text, self.at)
        except (RecursionError, ValueError) as error:
            raise self.error("what is no JSON") from error
        return value

    def _literal(self, stops: str) -> Literal:
        start = self.at
        self.at += 1
        if self._next() in (*'{["-0123456789',):
            return Literal(self._json())
        while (sign := self._next()) and sign not in ".|" and sign not in stops:
            self.at += 1
        words = {"true": True, "false": False, "null": None}
        word = self._text[start + 1 : self.at].lower()
        if word not in words:
            raise self.error("! without a JSON value", start)
        return Literal(words[word])

    def _multipath(self) -> Multipath:
        start = self.at
        is_object = self._next() == "{"
        closing = "}" if is_object else "]"
        self.at += 1
        items: list[tuple[str, Path]] = []
        while True:
            name, begin = "", self.at
            if self._next() == '"':
                name = self._quoted()
                if self._next() != ":":
                    raise self.error("a name without a colon")
                self.at += 1
                path = self.path("," + closing)
            else:
                path = self.path(",:" + closing)
                if self._next() == ":":
                    name = self._text[begin : self.at]
                    self.at += 1
                    path = self.path("," + closing)
            items.append((name or _last_name(path), path))
            sign = self._next()
            if not sign:
                raise self.error("a bracket that is not closed", start)
            self.at += 1
            if sign == closing:
                return Multipath(is_object, tuple(items))

    def _blanks(self) -> None:
        while self._next().isspace():
            self.at += 1


def _last_name(path: Path) -> str:
    """Returns the name that a multipath gives to a value: the last key, or ``_``."""
    last = path.parts[-1][-1]
    while isinstance(last, Query | Each) and last.rest is not None:
        last = last.rest.parts[-1][-1]
    if isinstance(last, Modifier):
        return f"@{last.name}"
    return last.name if isinstance(last, Key) else "_"
