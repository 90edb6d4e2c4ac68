"""What ``import katibflow`` offers; ``__init__.py`` imports each of it when it is asked for."""

from katibflow import search as search
from katibflow.api import Experiment as Experiment
from katibflow.api import tune as tune
from katibflow.outcome import Result as Result
from katibflow.reporting import report_metrics as report_metrics

__all__ = ["Experiment", "Result", "__version__", "report_metrics", "search", "tune"]

__version__: str
