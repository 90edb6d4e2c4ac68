"""An HTTP server in a thread that can go away and come back, as doubles of real services do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Handler", "HttpDouble"]


class HttpDouble:
    """The server; what it answers is in its handler.

    Args:
        handler: A `Handler`, whose ``double`` this becomes.
        port: Where it is to listen; 0 for any port that is free.
    """

    def __init__(self, handler: type[Handler], port: int = 0) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.tls: ssl.SSLContext | None = None
        self.connections: set[socket.socket] = set()
        self.port = port
        self._handler = handler
        self._http: ThreadingHTTPServer | None = None
        self._also: list[ThreadingHTTPServer] = []

    def up(self) -> None:
        """Listens, on the same port as before."""
        handler = type("BoundHandler", (self._handler,), {"double": self})
        self._http = _Server(("127.0.0.1", self.port), handler)
        self.port = self._http.server_port
        if self.tls is not None:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        _serve(self._http)

    def also_up(self, tls: ssl.SSLContext) -> int:
        """Listens by TLS on a port more, which is returned, until the double is down."""
        made = _Server(("127.0.0.1", 0), type("BoundHandler", (self._handler,), {"double": self}))
        made.socket = tls.wrap_socket(made.socket, server_side=True)
        self._also.append(made)
        _serve(made)
        return int(made.server_port)

    def down(self) -> None:
        """Is gone: connections break, and new ones are refused."""
        if self._http is None:
            return
        for each in self._also:
            each.shutdown()
            each.server_close()
        self._also.clear()
        self._http.shutdown()
        self._http.server_close()
        self._http = None
        self.break_connections()

    def break_connections(self) -> None:
        with self.changed:
            connections = list(self.connections)
            self.wake_all()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wake_all(self) -> None:
        """Wakes whoever waits for something to change; called with the lock held."""
        self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Blocks until something of the service, or of its requests, is so."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), "it did not come to be"


class Handler(BaseHTTPRequestHandler):
    """Answers every request by ``serve``, which the double's own handler has."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    double: Any

    def setup(self) -> None:
        super().setup()
        with self.double.changed:
            self.double.connections.add(self.connection)

    def finish(self) -> None:
        with self.double.changed:
            self.double.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def serve(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.serve()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815


def _serve(server: ThreadingHTTPServer) -> None:
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a broken connection is part of the tests
