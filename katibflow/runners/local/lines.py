"""Reads lines from a log that is still being written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from katibflow.study.files import open_regular

__all__ = ["MAX_LINE_BYTES", "LineSplitter", "LogTail", "last_lines"]

MAX_LINE_BYTES = 65_536
"""Longer lines are cut: they hold no metric, and would take too much memory."""

_CHUNK = 262_144
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")


class LineSplitter:
    r"""Turns bytes that come in pieces into lines.

    ``\n``, ``\r\n`` and ``\r`` end a line, so that each state of a progress bar is a line of its
    own; an empty one is kept only when a newline ends it. Bytes that are no UTF-8 are replaced.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_cut = False

    def feed(self, data: bytes) -> list[str]:
        """Returns the lines that ``data`` completes."""
        data = self._rest + data
        # A carriage return at the very end may be half of "\r\n".
        held = b"\r" if data.endswith(b"\r") else b""
        body = data[: len(data) - len(held)]
        if b"\r" in body:
            pieces, position = [], 0
            for match in _LINE.finditer(body):
                position = match.end()
                if match[1] or match[2] != b"\r":
                    pieces.append(match[1])
            self._rest = body[position:] + held
        else:
            pieces = body.split(b"\n")
            self._rest = pieces.pop() + held
        lines: list[str] = []
        for piece in pieces:
            if not self._is_cut:
                lines.append(_text(piece))
            self._is_cut = False
        if len(self._rest) > MAX_LINE_BYTES:
            if not self._is_cut:
                lines.append(_text(self._rest))
            self._is_cut = True
            self._rest = b""
        return lines

    def flush(self) -> list[str]:
        """Returns the last line, if it has no line end."""
        rest, self._rest = self._rest.strip(b"\r"), b""
        cut, self._is_cut = self._is_cut, False
        return [_text(rest)] if rest and not cut else []


class LogTail:
    """Reads one log from its first byte on; the file may appear later.

    Args:
        path: The log.
        follow: Whether the log may be a link, as a file that the trial itself makes; False by
            default.
    """

    def __init__(self, path: Path, *, follow: bool = False) -> None:
        self._path = path
        self._follow = follow
        self._descriptor: int | None = None
        self._splitter = LineSplitter()

    def read(self) -> tuple[list[str], bool]:
        """Returns the present lines, up to one piece of the log.

        Returns:
            The lines, and whether more may be there already.
        """
        if self._descriptor is None:
            try:
                self._descriptor = open_regular(self._path, follow=self._follow)
            except OSError as error:
                # What is a pipe or a link in the file's place has no lines.
                if error.errno in (None, errno.ENOENT, errno.ELOOP, errno.ENXIO):
                    return [], False
                raise
        data = os.read(self._descriptor, _CHUNK)
        return (self._splitter.feed(data) if data else []), len(data) == _CHUNK

    def rest(self) -> Iterator[str]:
        """Yields all lines up to the end of a log that is no longer written."""
        more = True
        while more:
            lines, more = self.read()
            yield from lines
        yield from self._splitter.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def last_lines(path: Path, number: int) -> list[str]:
    """Returns the last lines of a log, read from its end, or none without a log."""
    try:
        with open(open_regular(path), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MAX_LINE_BYTES))
            data = file.read(MAX_LINE_BYTES)
    except OSError:
        return []
    splitter = LineSplitter()
    lines = [*splitter.feed(data), *splitter.flush()]
    return [line[:1000] for line in lines if line.strip()][-number:]


def _text(piece: bytes) -> str:
    return piece[:MAX_LINE_BYTES].decode("utf-8", "replace")
