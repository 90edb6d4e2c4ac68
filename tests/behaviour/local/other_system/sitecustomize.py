"""Removes what only Linux has, from a process that has this folder on PYTHONPATH.

Each use of a removed function fails, and is written to the file $TRIED. With $HIDE the environment
of other processes cannot be read either, like that of macOS's own programs.
"""

from __future__ import annotations

import os
import select
import signal
import sys

ABSENT = (
    (os, ("eventfd", "eventfd_read", "eventfd_write", "pidfd_open", "waitid", "P_PIDFD")),
    (os, ("EFD_CLOEXEC", "EFD_NONBLOCK", "memfd_create", "sendfile", "posix_fadvise")),
    (signal, ("pidfd_send_signal",)),
    (select, ("epoll",)),
)


def is_of_psutil() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if f"{os.sep}psutil{os.sep}" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def refuse(what: str) -> None:
    descriptor = os.open(os.environ["TRIED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what}\n".encode())
    os.close(descriptor)
    raise OSError(f"another system has no {what}")


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and arguments:
        path = arguments[0]
        name = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
        if name.startswith("/proc") and not is_of_psutil():
            refuse(name)
    elif event == "socket.bind":
        address = arguments[1]
        if isinstance(address, (str, bytes)) and os.fsencode(address).startswith(b"\0"):
            refuse("abstract socket")
    elif event == "ctypes.dlsym" and arguments[-1] in ("inotify_init1", "eventfd"):
        refuse(str(arguments[-1]))
    elif event == "ctypes.dlsym" and arguments[-1] == "prctl":
        raise OSError("another system has no prctl")  # asked for where it may be absent


for module, names in ABSENT:
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.modules["inotify_simple"] = None  # type: ignore[assignment]
sys.addaudithook(hook)
if "HIDE" in os.environ:
    import psutil

    def denied(self: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied(self.pid)

    psutil.Process.environ = denied  # type: ignore[method-assign]
