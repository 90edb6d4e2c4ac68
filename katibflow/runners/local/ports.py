"""Reserves free ports for trials, and finds the processes that listen on ports."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from katibflow.errors import RunnerError
from katibflow.runners.local.members import marked

__all__ = ["free_port", "listener_of", "never_connected", "reserved"]

_PORTS = range(20_000, 32_768)
"""The ports for trials, below the range that systems use for outgoing connections."""

_TRIES = 200
_LOCAL = "127.0.0.1"
_CONNECT_LIMIT = 1.0


@contextmanager
def free_port() -> Iterator[int]:
    """Yields a port that nobody listens on, and reserves it against other trials here.

    Raises:
        RunnerError: No port is free.
    """
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        # A listener on one address may not block all addresses, and the reverse.
        if not all(_is_free(address, port) for address in ("", _LOCAL)):
            continue
        with reserved(port) as is_ours:
            if is_ours:
                yield port
                return
    raise RunnerError(f"no port between {_PORTS.start} and {_PORTS.stop - 1} is free")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


@contextmanager
def reserved(port: int) -> Iterator[bool]:
    """Reserves a port against trials of any process here; yields whether it was free.

    The UDP port of the same number serves as the lock: the kernel frees it when its holder is
    killed, it is the same for all users, and a trial's replicas use TCP.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        try:
            holder.bind((_LOCAL, port))
        except OSError:
            yield False
            return
        yield True


def never_connected(folder: Path, first: str, replicas: Iterable[str], port: int) -> list[str]:
    """Returns the replicas without a connection to the port that the first one listens on.

    Args:
        folder: The trial's folder.
        first: The replica that should listen.
        replicas: The replicas that should be connected.
        port: Port of the first replica.

    Returns:
        Names of replicas; empty also if nobody listens, as nobody waits then.
    """
    listens = False
    connected: set[str] = set()
    for pid, (_, replica) in marked(folder).items():
        for connection in _connections(pid):
            if connection.status == psutil.CONN_LISTEN and connection.port == port:
                listens = listens or replica == first
            elif connection.peer == port and connection.status != psutil.CONN_SYN_SENT:
                connected.add(replica)
    return [name for name in replicas if name not in connected] if listens else []


def listener_of(folder: Path, port: int) -> bool | None:
    """Returns whether a process of the trial listens on a port, or None if nobody does.

    macOS shows other users' listeners to root only, so a connection tests whether there is one.
    """
    for pid in marked(folder):
        for connection in _connections(pid):
            if connection.status == psutil.CONN_LISTEN and connection.port == port:
                return True
    try:
        socket.create_connection((_LOCAL, port), _CONNECT_LIMIT).close()
    except ConnectionRefusedError:
        return None
    except OSError:  # a listener that is too busy to answer
        pass
    return False


class _Connection(NamedTuple):
    """A TCP connection: its status, the port here and, if connected, the port there."""

    status: str
    port: int
    peer: int | None


def _connections(pid: int) -> list[_Connection]:
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return []
    return [
        _Connection(each.status, each.laddr.port, each.raddr.port if each.raddr else None)
        for each in found
        if each.laddr
    ]
