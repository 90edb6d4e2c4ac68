"""Writes a run to W&B's files, offline: a run for the experiment, and one in its group per trial.

Offline files are not read again by W&B's client, so each run is written once, when it is over, and
a file of ours beside it says that it is whole. ``wandb sync`` uploads them. Import the module late:
it imports W&B's client when it is first used, which takes seconds.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from katibflow.storage.follower import Reports
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import aims_texts
from katibflow.tracking.base import Files, metrics_at_end, reports_of

__all__ = ["WandbTracker"]

_WHOLE = "katibflow.whole"
"""Name of the empty file in the folder of a run that was written to its end."""

_REASON_LENGTH = 300


class WandbTracker:
    """Writes a run to the folder ``wandb`` beside its study.

    Args:
        place: The project in W&B; "" for the Experiment's name.
    """

    def __init__(self, place: str) -> None:
        self._project = place

    def prepare(self) -> None:
        """Imports W&B's client."""
        import wandb  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

    def update(self, history: History, trial: Trial, reports: Reports, files: Files) -> None:
        """Writes a trial that is over, once; see `Tracker`."""
        if not trial.state.is_finished:
            return
        known = reports_of(history, trial, reports)
        series: dict[int, dict[str, float]] = {}
        for name, points in known.items():
            for point in points:
                if math.isfinite(point.value):
                    series.setdefault(point.step, {})[name] = point.value
        summary = {
            **metrics_at_end(history, trial),
            "katibflow.state": trial.state.value,
            "katibflow.reason": trial.reason,
            "katibflow.job": trial.job or "",
        }
        self._write(
            history,
            files,
            identity=f"{history.run}-{trial.number}",
            name=f"trial {trial.number}",
            kind="trial",
            config=dict(trial.assignments),
            series=series,
            summary=summary,
            kept={f"{replica}.log": path for replica, path in files.logs(trial.number).items()},
            failed=trial.state is TrialState.FAIL,
        )

    def end(self, history: History, ending: Ending, report: Path, files: Files) -> None:
        """Writes the experiment's own run anew: the best trial, why it ended, and the report."""
        spec = history.experiment.spec
        best = best_of(spec.objective, history.trials)
        self._write(
            history,
            files,
            identity=f"{history.run}-run",
            name=f"{history.experiment.name} {history.run}",
            kind="experiment",
            config={
                "objective": "; ".join(aims_texts(spec.objective)),
                "algorithm": spec.algorithm.algorithm_name,
                "seed": history.seed,
                "maxTrialCount": spec.max_trial_count,
                "parallelTrialCount": spec.parallelism,
            },
            series={},
            summary={
                **best.metrics(),
                "katibflow.reason": ending.reason,
                "katibflow.message": ending.message,
            },
            kept={"report.html": report, "study.jsonl": files.study},
            failed=ending.succeeded is False,
            anew=True,
        )

    def forget(self) -> None:
        """Forgets nothing: what is there is looked for each time."""

    def why(self, error: BaseException) -> str:
        """Returns an error as one line."""
        return (" ".join(str(error).split()) or type(error).__name__)[:_REASON_LENGTH]

    def _write(
        self,
        history: History,
        files: Files,
        *,
        identity: str,
        name: str,
        kind: str,
        config: Mapping[str, Any],
        series: Mapping[int, Mapping[str, float]],
        summary: Mapping[str, Any],
        kept: Mapping[str, Path],
        failed: bool,
        anew: bool = False,
    ) -> None:
        """Writes one run, unless it is there; what a killed process left of it is removed."""
        import wandb  # type: ignore[import-not-found,unused-ignore]

        folder = files.study.resolve().parent
        for there in (folder / "wandb").glob(f"offline-run-*-{identity}"):
            if (there / _WHOLE).exists() and not anew:
                return
            shutil.rmtree(there)
        run = wandb.init(
            mode="offline",
            dir=str(folder),
            project=self._project or history.experiment.name,
            group=f"{history.experiment.name}-{history.run}",
            job_type=kind,
            name=name,
            id=identity,
            config=dict(config),
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                x_disable_stats=True,
            ),
        )
        place, is_written = Path(run.dir), False
        try:
            for step, values in sorted(series.items()):
                run.log(dict(values), step=step)
            run.summary.update(dict(summary))
            for title, path in kept.items():
                if path.is_file():
                    copy = shutil.copyfile(path, place / title)
                    run.save(str(copy), base_path=str(place), policy="now")
            is_written = True
        finally:
            run.finish(exit_code=int(failed or not is_written))
        (place.parent / _WHOLE).touch()
