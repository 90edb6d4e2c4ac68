"""What `finish` does for trials on this machine; on Kubernetes the component stands alone."""

from __future__ import annotations

from pathlib import Path

from katibflow.steps.files import says_what_is_wrong

__all__ = ["finish"]


@says_what_is_wrong
def finish(folder: str) -> None:
    """Stops what still runs of the pipeline run whose local run folder this is."""
    from katibflow.runners.local.runner import LocalRunner

    runner = LocalRunner(Path(folder), ())
    try:
        runner.sweep((), "the pipeline run is over")
    finally:
        runner.close()
