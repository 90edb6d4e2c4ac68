"""What a pipeline's steps cost before they do anything: what each imports, cold.

    python benchmarks/bench_components.py [--runs 1]

Every step runs for real, in a process of its own, from the packed library as in a compiled
pipeline, with its trials in the tests' Kubernetes API server. Seconds are those that Python spent
on imports (`-X importtime`), the median of the runs; KFP's own executor comes on top and is shown
last. The packages that took longest are named.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from katibflow.compiler.library import carried_files
from tests.behaviour.steps.test_finish import kubeconfig
from tests.doubles.kubernetes.plays import completes
from tests.doubles.kubernetes.server import ApiServer
from tests.shell_trials import ROOM, document

TARGET = 1.0
LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
STEP = """
import json, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pandas", "scipy", "sklearn", "torch"}:
            raise ImportError(f"{name} is not installed in a step")
sys.meta_path.insert(0, NotInstalled())
sys.path.insert(0, sys.argv[1])
from katibflow import steps
assert steps.__file__.startswith(sys.argv[1])
class Output:
    def __init__(self, path):
        self.path, self.metadata = path, {}
name, arguments = sys.argv[2], json.loads(sys.argv[3])
for index, each in enumerate(arguments):
    if isinstance(each, dict) and "path" in each:
        arguments[index] = Output(**each)
print("RETURNED", json.dumps(getattr(steps, name)(*arguments)))
"""
Times = dict[str, list[Counter[str]]]


def imports(command: list[str], environment: dict[str, str]) -> tuple[Counter[str], str]:
    """Seconds by top-level package that a process spent on imports, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    seconds: Counter[str] = Counter()
    for micro, module in LINE.findall(done.stderr):
        seconds[module.split(".")[0]] += int(micro) / 1e6
    return seconds, done.stdout


def one_run(folder: Path, environment: dict[str, str], times: Times) -> None:
    """Every step of both layouts, once."""
    places = ("study", "log", "after", "page", "text", "logs", "metrics")
    study, log, after, page, text, logs, metrics = ({"path": str(folder / name)} for name in places)
    reason, best, result = (str(folder / name) for name in ("reason", "best", "result"))

    def step(name: str, *arguments: object) -> Any:
        archive = str(folder.parent / "library.zip")
        seconds, printed = imports(["-c", STEP, archive, name, json.dumps(arguments)], environment)
        times.setdefault(name, []).append(seconds)
        return json.loads(printed.rpartition("RETURNED ")[2])

    counts = {"parallelTrialCount": "1", "maxTrialCount": "2"}
    experiment = document("", {"spec.algorithm": {"algorithmName": "tpe"}})
    step("start", json.dumps(experiment), counts, "rounds", folder.name, "", ROOM, study)
    for _ in range(2):  # the importance of parameters needs two trials
        (item,) = step("suggestion", study["path"])
        ended = step("launcher", study["path"], item, log)
        step("collector", study["path"], [ended], after)
        step("loop", after["path"], text, reason)
        shutil.rmtree(study["path"])
        Path(after["path"]).rename(study["path"])
    step("summary", study["path"], page)
    step("report", study["path"], page, text, metrics, best, result)
    run = f"{folder.name}c"
    step("start", json.dumps(experiment), counts, "controller", run, "", ROOM, study)
    step("controller", study["path"], after, logs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    runs = parser.parse_args().runs
    server = ApiServer()
    values = iter(range(1, 1000))
    server.script = lambda play: completes([f"loss=0.{next(values)}"])(play)
    times: Times = {}
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(Path(name) / "library.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for place, source in carried_files().items():
                archive.writestr(place, source)
        environment = kubeconfig(Path(name), server)
        for number in range(runs):
            folder = Path(name) / f"run{number}"
            folder.mkdir()
            one_run(folder, environment, times)
    server.down()
    times["(kfp's executor)"] = [
        imports(["-c", "import kfp.dsl.executor_main"], {})[0] for _ in range(runs)
    ]
    for step, taken in times.items():
        median = statistics.median(each.total() for each in taken)
        slowest = taken[-1].most_common(3)
        named = ", ".join(f"{package} {seconds:.2f}" for package, seconds in slowest)
        goal = "" if step.startswith("(") else f"   (target: at most {TARGET:g} s)"
        print(f"{step:<18}{median:6.2f} s{goal}   {named}")


if __name__ == "__main__":
    main()
