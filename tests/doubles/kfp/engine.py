"""An engine for the server double: it really runs what was uploaded, with kfp.local.

The steps are processes of their own, as in the cluster, and find the cluster by a kubeconfig.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.doubles.kfp.server import Play
from tests.e2e.kfp_local import ENVIRONMENT, SCRIPT

_STEP = re.compile(r"Executing task \x1b\[96m'(\S+)'")
"""Of the ends of steps that run at the same time, kfp.local tells only some."""


def local_engine(folder: Path, kubeconfig: Path) -> Callable[[Play], None]:
    """A script that runs each run's file in a folder of its own."""

    def script(play: Play) -> None:
        play.state("RUNNING")
        place = folder / play.run_id
        place.mkdir()
        file = place / "pipeline.yaml"
        # the backend puts the run's id there; kfp.local would make one up
        text = play.text.replace("{{$.pipeline_job_uuid}}", play.run_id)
        file.write_text(text, encoding="utf-8")
        environment = {"KATIBFLOW_RUNNER": "kubernetes", "KUBECONFIG": str(kubeconfig)}
        lines, begun = [], []
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(file), json.dumps(play.parameters)],
            cwd=place,
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for number, line in enumerate(process.stdout or ()):
                lines.append(line)
                for match in _STEP.finditer(line):
                    begun.append((match[1], f"{match[1]}-{number}-{match.start()}"))
                    play.step(begun[-1][0], "RUNNING", begun[-1][1])
        (place / "log").write_text("".join(lines), encoding="utf-8")
        failed = process.returncode != 0
        for name, key in begun:
            play.step(name, "FAILED" if failed else "SUCCEEDED", key)
        play.state("FAILED" if failed else "SUCCEEDED", "kfp.local failed" if failed else "")

    return script
