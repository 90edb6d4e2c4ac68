"""Certificates and a forward proxy, for doubles of servers behind TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.doubles.http_double import Handler, HttpDouble

NAME = "api.internal"
"""The only name that the certificate is for, beside localhost."""


@dataclass(frozen=True)
class Identity:
    """A key and its certificate, which signed itself: who trusts it trusts it alone."""

    key: Path
    certificate: Path

    @classmethod
    def made_in(cls, folder: Path) -> Identity:
        made = cls(folder / "key.pem", folder / "certificate.pem")
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        more = f"-days 1 -subj /CN=user -addext subjectAltName=DNS:{NAME},DNS:localhost"
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run([*command.split(), *more.split(), *files], check=True, capture_output=True)
        return made

    def server(self, wants_certificate: bool) -> ssl.SSLContext:
        """A server's side, which may accept nobody but who shows the same certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        return context


class ForwardProxy(HttpDouble):
    """A proxy that leads every tunnel to one port of this machine, and keeps who was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(_Tunnel)
        self.target = port
        self.asked: list[str] = []
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Tunnel(Handler):
    double: ForwardProxy

    def do_CONNECT(self) -> None:  # noqa: N802
        self.double.asked.append(self.path)
        with socket.create_connection(("127.0.0.1", self.double.target)) as target:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(target, self.connection), daemon=True)
            back.start()
            _copy(self.connection, target)
            back.join()
        self.close_connection = True


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
