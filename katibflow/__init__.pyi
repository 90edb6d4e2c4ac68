"""What ``import katibflow`` offers; ``__init__.py`` imports each of it when it is asked for."""

from katibflow import search as search
from katibflow.api.experiment import Experiment as Experiment
from katibflow.api.pipeline_task import pipeline_task as pipeline_task
from katibflow.api.result import Result as Result
from katibflow.api.run import Run as Run
from katibflow.api.tuning import tune as tune
from katibflow.reporting import report_metrics as report_metrics

__all__ = ["Experiment", "Result", "Run", "__version__", "report_metrics", "search", "tune"]

__version__: str
