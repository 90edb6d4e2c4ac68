"""Has the package imported, and forks a process of ``python -m katibflow`` for each request.

A process so begun differs from one that is begun anew by the imports alone, which take more time
than all that most tests ask of it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import selectors
import socket
import sys

__all__ = ["main"]

IMPORTED = (
    "jinja2",
    "katibflow.cli.app",
    "katibflow.engine.loop",
    "katibflow.progress.display",
    "katibflow.report.page",
    "katibflow.runners.local.runner",
    "katibflow.runners.record_copies",
    "katibflow.runs.overrides",
    "katibflow.suggestion.history_storage",
    "katibflow.validation.reading",
    "kubernetes.config",
    "numpy.random",
    "optuna.visualization",
    "plotly.graph_objs.scatter",
    "plotly.offline",
    "plotly.validator_cache",
    "rich.table",
)
FDS = 4


def main() -> None:
    """Serves until the process that started it ends; its forks return from here to run."""
    for name in IMPORTED:
        importlib.import_module(name)
    control = socket.socket(fileno=int(sys.argv[1]))
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                word, fds, _, _ = socket.recv_fds(control, 1, FDS)
                if not word:
                    return
                pid = os.fork()
                if pid == 0:
                    _become(*fds)
                    return
                answer = socket.socket(fileno=fds[0])
                for fd in fds[1:]:
                    os.close(fd)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answer))
                _say(answer, pid)
            else:
                pid, answer = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                _say(answer, os.waitpid(pid, 0)[1])
                answer.close()


def _say(answer: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # whoever asked may be gone
        answer.sendall(f"{number}\n".encode())


def _become(asked: int, *standard: int) -> None:
    """Makes this fork what a fresh process with the command would be, and runs the command."""
    request = json.loads(os.fdopen(os.dup(asked)).readline())
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
    os.closerange(3, 1024)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    from kubernetes.config import kube_config

    # Read when the client is imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ.get("KUBECONFIG", "~/.kube/config")
    sys.path[0] = request["cwd"]
    sys.argv = ["katibflow", *request["words"]]
    runpy.run_module("katibflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
