"""Commands that run as processes of their own."""

from __future__ import annotations

import subprocess

__all__ = ["finish"]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for a command's end: its exit status, output and errors, no traceback among them."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in err, err
    return process.returncode, out, err
