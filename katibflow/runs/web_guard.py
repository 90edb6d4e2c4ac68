"""Guards a web server of this machine against pages of other sites, as a WSGI application.

A page in the user's browser can send requests to this machine. It cannot choose their Host and
Origin: a name of its own that leads here stays in Host, and its site stays in Origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["guarded"]

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})


def guarded(app: Application, host: str, *, writable: bool) -> Application:
    """Returns an application that answers only what its own pages ask.

    Args:
        app: The application.
        host: The name or address that the server listens on. If it is all addresses of the
            machine, any name may lead there, and only the Origin is checked.
        writable: Whether requests may change something.
    """

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        why = _refusal(environ, host, writable=writable)
        if why is None:
            return app(environ, start)
        body = f"{why}\n".encode()
        length = str(len(body))
        start("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", length)])
        return [body]

    return answer


def _refusal(environ: dict[str, Any], host: str, *, writable: bool) -> str | None:
    asked = str(environ.get("HTTP_HOST", ""))
    name = _name(f"//{asked}")
    if host not in _EVERYWHERE and name not in _LOCAL | {host.lower().strip("[]")}:
        return f"Host: another one than {host}"
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and urlsplit(str(origin)).netloc.lower() != asked.lower():
        return "Origin: a page of another site"
    if not writable and environ.get("REQUEST_METHOD") not in _READS:
        return "read-only; katibflow dashboard --writable lets its page change something"
    return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
