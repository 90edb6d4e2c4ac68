"""A trial that makes a daemon of itself, without its environment, session and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.shell_trials import document

DAEMON = """
import os, sys, time
if os.fork():
    os.wait()
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 256)
os.chdir("/")
code = "import pathlib, signal; pathlib.Path({path!r}).write_text('x'); signal.pause()"
os.execve(sys.executable, [sys.executable, "-c", code.format(path=sys.argv[1])], {})
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has subreapers")
def test_a_daemon_of_a_trial_ends_with_the_run(tmp_path: Path) -> None:
    begun, program = tmp_path / "begun", tmp_path / "daemon.py"
    program.write_text(DAEMON)
    script = (
        f"{sys.executable} {program} {begun}; "
        f"while [ ! -e {begun} ]; do sleep 0.02; done; echo loss=1"
    )
    changes = {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(document(script, changes)))
    ran = subprocess.run(
        [sys.executable, "-m", "katibflow", "run", "x.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    left = []
    for process in psutil.process_iter(["cmdline"]):
        if str(begun) in " ".join(process.info["cmdline"] or ()):
            left.append(process.pid)
            process.kill()
    assert begun.exists()
    assert left == []
