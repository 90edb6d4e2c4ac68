"""The backend for this machine: trials are processes here, each with a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow.errors import InputError
from katibflow.printing import warn
from katibflow.runners.backends import Backend, Given, Option, RunSetup

if TYPE_CHECKING:
    from katibflow.experiment.types import Experiment, TrialTemplate
    from katibflow.runners.base import Runner
    from katibflow.runners.local.host import Host
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = ["BACKEND", "LocalBackend"]

_SEARCH_FILE = "search.json"
"""Name of the file with the text of `study.resume.search_text`, in a pipeline run's folder."""


class LocalBackend:
    """Runs trials as processes of this machine; a `runners.backends.Backend`."""

    summary = "processes here"
    options = (
        Option(
            "maps",
            "A path inside the trial's image and what stands for it here, as "
            "/opt/pytorch-mnist=trial_image. May be given several times.",
            flag="--map",
            metavar="CONTAINER=HERE",
            is_list=True,
        ),
        Option(
            "python",
            "The trials' Python: an interpreter, or the folder of a virtual environment; by "
            "default the one that runs katibflow.",
            metavar="PATH",
        ),
        Option(
            "env_file",
            "A file of variables for the trials, one NAME=VALUE a line, also in place of Secrets "
            "and ConfigMaps. Its values are not kept. May be given several times.",
            metavar="FILE",
            is_list=True,
        ),
        Option(
            "gpus",
            "How many GPUs trials share that ask for nvidia.com/gpu or amd.com/gpu, in place of "
            "those that are found; 0 runs them without.",
            metavar="N",
            type=int,
        ),
        Option(
            "clean_env",
            "Let trials inherit only PATH, HOME and the like of this command's environment. What "
            "the Experiment, --env and --env-file name they have all the same.",
            type=bool,
        ),
    )

    def check(self, experiment: Experiment, given: Given, source: str) -> None:
        """Checks the options, and the Experiment with them."""
        from katibflow.runners.local.checks import check_local

        check_local(experiment, _host(experiment, given, source), source)

    def set_up(self, experiment: Experiment, given: Given, source: str) -> RunSetup:
        """Prepares runners whose trials are in the run's folder, and reads the trials' programs."""
        from katibflow.runners.local.preview import preview, secret_notes
        from katibflow.runners.local.programs import file_hash, program_files
        from katibflow.runners.local.runner import LocalRunner
        from katibflow.runners.local.settled import Settled

        host = _host(experiment, given, source)
        manifest = experiment.spec.trial_template.trial_spec or {}
        files = given.get("env_file") or ()
        return RunSetup(
            lambda history, folder: LocalRunner(folder, host, Settled.of(history, folder)),
            fills_folder=True,
            programs={
                **program_files(manifest, host),
                **{f"--env-file {file}": file_hash(Path(file).expanduser()) for file in files},
            },
            place={"--python": host.python} if host.python else {},
            at_once=None if host.gpus is None else host.gpus.at_once,
            notes=(
                *secret_notes(manifest, host),
                *([] if host.gpus is None else [host.gpus.note(experiment.spec.parallelism)]),
            ),
            preview=lambda manifest, folder: preview(manifest, folder, host),
        )

    def template_reader(self, given: Given) -> None:
        """Returns None: this machine has no ConfigMaps."""

    def step_runner(self, history: History) -> Runner:
        """Makes the runner of a pipeline's run, with ``KATIBFLOW_MAPS``, and its folder."""
        from katibflow.runners.local.host import Host
        from katibflow.runners.local.paths import parse_map
        from katibflow.runners.local.runner import LocalRunner
        from katibflow.study.files import make_folder, write_atomically
        from katibflow.study.resume import search_text

        maps = os.environ.get("KATIBFLOW_MAPS") or ""
        folder = _run_folder(history.experiment.name, history.run)
        make_folder(folder)
        if not (folder / _SEARCH_FILE).exists():
            write_atomically(folder / _SEARCH_FILE, search_text(history.experiment))
        mapped = tuple(map(parse_map, filter(None, maps.split(os.pathsep))))
        return LocalRunner(folder, Host(maps=mapped))

    def earlier(self, history: History) -> Iterator[EarlierTrial]:
        """Finds the trials in the folders of all pipeline runs of the Experiment's name."""
        from katibflow.runners.local.runner import LocalRunner
        from katibflow.study.resume import EarlierTrial

        own = _run_folder(history.experiment.name, history.run)
        pattern = re.compile(f"{re.escape(history.experiment.name)}-([0-9a-f]{{8}})")
        for folder in sorted(own.parent.glob("*")):
            match = pattern.fullmatch(folder.name)
            if match is None or not folder.is_dir():
                continue
            file = folder / _SEARCH_FILE
            search = file.read_text(encoding="utf-8") if file.is_file() else ""
            for trial in LocalRunner(folder).readable_records(warn):
                yield EarlierTrial(match[1], trial, search)

    def log_files(self, history: History) -> Mapping[int, Mapping[str, Path]]:
        """Finds the logs in the folder of the pipeline's run."""
        trials = _run_folder(history.experiment.name, history.run) / "trials"
        logs: dict[int, dict[str, Path]] = {}
        for trial in history.trials:
            for path in sorted(trials.glob(f"{trial.number:04}/*.log")):
                logs.setdefault(trial.number, {})[path.stem] = path
        return logs

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
        """Ends the processes of a pipeline's run, if it has a folder; returns no names."""
        from katibflow.runners.local.runner import LocalRunner

        folder = _run_folder(experiment, run)
        if folder.is_dir():
            runner = LocalRunner(folder)
            try:
                runner.sweep((), "the pipeline run is over")
            finally:
                runner.close()
        return ()


def _run_folder(experiment: str, run: str) -> Path:
    """Returns the folder of a pipeline run's trials; every run has its own."""
    return Path(os.environ.get("KATIBFLOW_RUNS") or "runs").absolute() / f"{experiment}-{run}"


def _host(experiment: Experiment, given: Given, source: str) -> Host:
    """Reads the options of a run."""
    from katibflow.runners.local.devices import gpus_here
    from katibflow.runners.local.host import Host, parse_python, read_env_files
    from katibflow.runners.local.paths import parse_map

    files = given.get("env_file") or ()
    python = given.get("python")
    number = given.get("gpus")
    if number is not None and number < 0:
        raise InputError(f"--gpus: found {number}; allowed: a whole number from 0")
    gpus = gpus_here(experiment.spec.trial_template.trial_spec or {}, number)
    at_once = experiment.spec.parallelism
    if gpus is not None and gpus.at_once is not None:
        at_once = min(at_once, max(1, gpus.at_once))
    file = Path(source)
    folders = [file.resolve().parent] if file.is_file() else []
    return Host(
        maps=tuple(parse_map(text) for text in given.get("maps") or ()),
        projects=tuple(dict.fromkeys([*folders, Path.cwd()])),
        python=None if python is None else parse_python(python),
        variables=read_env_files(files),
        has_files=bool(files),
        side_by_side=at_once,
        gpus=gpus,
        is_clean=bool(given.get("clean_env")),
    )


BACKEND: Backend = LocalBackend()
