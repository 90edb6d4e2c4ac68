"""A process that a test can kill: it runs one job and prints the events as they come.

python -m tests.behaviour.local.driver RUN_FOLDER JOB_JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import TrialJob
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import trial_from_data


def main() -> None:
    folder, text = sys.argv[1:]
    data = json.loads(text)
    job = TrialJob(trial_from_data(data["trial"]), data["manifest"], None, Limits(data["limit"]))
    print("begun", flush=True)
    outcome = LocalRunner(Path(folder)).run(
        job, lambda event: print(event, flush=True), StopRequest()
    )
    print(outcome.state, flush=True)


if __name__ == "__main__":
    main()
