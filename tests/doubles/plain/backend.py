"""A backend for bare subprocesses: a trial is its container's command, run unchanged."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow.runners.backends import Backend, Given, Option, RunSetup

if TYPE_CHECKING:
    from katibflow.experiment.types import Experiment, TrialTemplate
    from katibflow.runners.base import Runner
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = ["BACKEND", "PlainBackend"]


class PlainBackend:
    """Runs trials as bare subprocesses; a `runners.backends.Backend`."""

    summary = "bare subprocesses"
    options = (Option("workers", "How many trials run at a time.", type=int),)

    def check(self, experiment: Experiment, given: Given, source: str) -> None:
        """Checks that there are workers, and that a trial is one command."""
        from katibflow.errors import Fault, InputError, InvalidExperiment

        workers = given.get("workers")
        if workers is not None and workers < 1:
            raise InputError(f"--workers: found {workers}; allowed: a number above 0")
        pods = (experiment.spec.trial_template.trial_spec or {})["spec"].get("parallelism", 1)
        if pods != 1:
            path = "spec.trialTemplate.trialSpec.spec.parallelism"
            raise InvalidExperiment(source, [Fault(path, str(pods), "1, as a subprocess")])

    def set_up(self, experiment: Experiment, given: Given, source: str) -> RunSetup:
        """Makes runners that keep their records in a file of the run's folder."""
        from katibflow.runners.plain.runner import PlainRunner

        workers = given.get("workers") or 1
        return RunSetup(lambda history, folder: PlainRunner(folder, workers))

    def template_reader(self, given: Given) -> None:
        """Returns None: there are no ConfigMaps."""

    def step_runner(self, history: History) -> Runner:
        """Makes the runner of a pipeline's run, below ``PLAIN_RUNS``."""
        from katibflow.runners.plain.runner import PlainRunner

        return PlainRunner(_folder(history.experiment.name, history.run), 1)

    def earlier(self, history: History) -> Iterator[EarlierTrial]:
        """Finds the trials of all pipeline runs below ``PLAIN_RUNS``."""
        from katibflow.runners.plain.runner import PlainRunner

        from katibflow.study.resume import EarlierTrial, search_text

        name = history.experiment.name
        for folder in sorted(_folder(name, history.run).parent.glob(f"{name}-????????")):
            for trial in PlainRunner(folder, 1).records():
                yield EarlierTrial(folder.name[-8:], trial, search_text(history.experiment))

    def log_files(self, history: History) -> Mapping[int, Mapping[str, Path]]:
        """Returns none: there are no logs but those of the steps."""
        return {}

    def experiments_of(self, run: str) -> Sequence[str]:
        """Returns none, as there is no Workflow here."""
        return ()

    def left_logs(
        self, experiment: str, run: str, template: TrialTemplate
    ) -> Sequence[tuple[str, Sequence[str]]]:
        """Returns none, as the logs stay where they are."""
        return ()

    def is_shut_down(self) -> bool:
        """Returns False, as there is no Workflow here."""
        return False

    def pipeline_run(self) -> str | None:
        """Returns None: Kubeflow Pipelines is not asked from here."""
        return None

    def finish(self, experiment: str, run: str, template: TrialTemplate) -> Sequence[str]:
        """Ends the processes of a pipeline's run."""
        files = list(_folder(experiment, run).glob("*.pid"))
        for file in files:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        return [file.stem for file in files]


def _folder(experiment: str, run: str) -> Path:
    return Path(os.environ["PLAIN_RUNS"]) / f"{experiment}-{run}"


BACKEND: Backend = PlainBackend()
