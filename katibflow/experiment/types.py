"""The Katib ``Experiment`` (kubeflow.org/v1beta1) as frozen models with the YAML's names.

The models say which keys and types a file may have. Rules that compare fields live with the
concept they are about (``space``, ``algorithms``, ``template`` ...) and are gathered by
``validation``. Source: ``pkg/apis/controller/experiments/v1beta1/experiment_types.go`` and
``experiment_defaults.go`` in kubeflow/katib.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

__all__ = [
    "DEFAULT_PARALLEL_TRIAL_COUNT",
    "Aim",
    "Algorithm",
    "Collector",
    "CollectorSource",
    "ConfigMapSource",
    "Count",
    "Distribution",
    "EarlyStopping",
    "Experiment",
    "ExperimentSpec",
    "FeasibleSpace",
    "FileSystemPath",
    "Goal",
    "Metadata",
    "MetricConstraint",
    "MetricStrategy",
    "MetricsCollectorSpec",
    "MetricsFilter",
    "Model",
    "Objective",
    "ObjectiveType",
    "Parameter",
    "ParameterType",
    "Setting",
    "StrategyValue",
    "TrialParameter",
    "TrialTemplate",
]

DEFAULT_PARALLEL_TRIAL_COUNT = 3


class ObjectiveType(StrEnum):
    """Which way the objective metric is to go."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class ParameterType(StrEnum):
    """Katib's four parameter types."""

    DOUBLE = "double"
    INT = "int"
    DISCRETE = "discrete"
    CATEGORICAL = "categorical"


class Distribution(StrEnum):
    """How values of a range are spread before anything is known."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "logUniform"
    NORMAL = "normal"
    LOG_NORMAL = "logNormal"


class StrategyValue(StrEnum):
    """Which of a metric's values stands for the trial."""

    MIN = "min"
    MAX = "max"
    LATEST = "latest"


def _scalar_text(value: object) -> object:
    """Takes a YAML number where Katib wants a string."""
    if isinstance(value, bool):
        raise ValueError("text in quotes; YAML takes true, false, yes, no, on, off as booleans")
    if isinstance(value, int | float):
        return repr(value)
    return value


def _objective_word(value: object) -> object:
    if isinstance(value, str):
        return {"min": "minimize", "max": "maximize"}.get(value, value)
    return value


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def _listed(value: object) -> object:
    """One value as a list of it."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | int | float):
        return (_scalar_text(value),)
    raise ValueError("a value, or a list of values")


ScalarText = Annotated[str, BeforeValidator(_scalar_text)]
"""A string; a YAML number is taken as the text of that number."""

Count = Annotated[int, BeforeValidator(_number)]
"""A number of trials."""

FiniteNumber = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]
"""A number that is finite."""

ObjectiveWord = Annotated[ObjectiveType, BeforeValidator(_objective_word)]
"""``minimize`` or ``maximize``, also as min or max."""

OneOrMore = Annotated[tuple[ScalarText, ...], BeforeValidator(_listed)]
"""One text, or a list of some."""


class Model(BaseModel):
    """Frozen, closed to unknown keys, named as in the YAML; null is as good as absent."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: item for key, item in value.items() if item is not None or key not in known}


class Metadata(Model):
    """``metadata``: the name counts; what the API server added is kept and ignored."""

    model_config = ConfigDict(extra="allow")

    name: str
    namespace: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class FeasibleSpace(Model):
    """``feasibleSpace``: either ``min``/``max`` (and ``step``) or ``list``; numbers as text."""

    min: ScalarText | None = None
    max: ScalarText | None = None
    step: ScalarText | None = None
    list: tuple[ScalarText, ...] | None = None
    distribution: Distribution = Distribution.UNIFORM

    @field_validator("distribution", mode="before")
    @classmethod
    def _unknown_is_uniform(cls, value: object) -> object:
        return Distribution.UNIFORM if value in ("", "unknown", None) else value


class Parameter(Model):
    """One entry of ``parameters``. Without a type: ``categorical`` or ``discrete``, by its list.

    ``when`` (an extension) holds other parameters' names and the values that they must have for
    this one to be active, all of them; without it the parameter always is.
    """

    name: str = Field(min_length=1)
    parameter_type: ParameterType | None = None
    feasible_space: FeasibleSpace
    when: dict[str, OneOrMore] | None = None

    @property
    def type(self) -> ParameterType:
        """The stated type; next to a bare list ``discrete`` if every item is a finite number."""
        if self.parameter_type is not None:
            return self.parameter_type
        items = self.feasible_space.list or ()
        return ParameterType.DISCRETE if all(map(_is_finite, items)) else ParameterType.CATEGORICAL


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class MetricStrategy(Model):
    """One entry of ``metricStrategies``."""

    name: str = Field(min_length=1)
    value: StrategyValue


class Aim(NamedTuple):
    """One of the objectives: a metric, which way it is to go, and how far; None: no goal."""

    metric: str
    type: ObjectiveType
    goal: float | None

    @property
    def sign(self) -> float:
        """What makes a smaller value the better one: 1 when minimizing, else -1."""
        return 1.0 if self.type is ObjectiveType.MINIMIZE else -1.0

    def reached(self, value: float) -> bool:
        """Whether a value meets the goal."""
        return self.goal is not None and self.sign * value <= self.sign * self.goal


class Goal(Model):
    """One entry of ``goals``, an extension: an additional metric that is an objective too."""

    name: str = Field(min_length=1)
    type: ObjectiveWord
    goal: FiniteNumber | None = None


class MetricConstraint(Model):
    """One entry of ``constraints``, an extension: the values of a metric that are acceptable."""

    name: str = Field(min_length=1)
    min: FiniteNumber | None = None
    max: FiniteNumber | None = None


class Objective(Model):
    """``objective``; ``goals`` and ``constraints`` are extensions."""

    type: ObjectiveWord
    goal: FiniteNumber | None = None
    objective_metric_name: str = Field(min_length=1)
    additional_metric_names: tuple[str, ...] = ()
    metric_strategies: tuple[MetricStrategy, ...] = ()
    goals: tuple[Goal, ...] = ()
    constraints: tuple[MetricConstraint, ...] = ()

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The objective's metric first, then the additional ones."""
        return (self.objective_metric_name, *self.additional_metric_names)

    @property
    def aims(self) -> tuple[Aim, ...]:
        """The objectives: Katib's one first, then those of ``goals``."""
        first = Aim(self.objective_metric_name, self.type, self.goal)
        return (first, *(Aim(entry.name, entry.type, entry.goal) for entry in self.goals))

    def strategy(self, metric: str) -> StrategyValue:
        """The strategy that holds for ``metric``.

        Left out it follows the type: min when minimizing, else max; of a metric in ``goals`` its
        own type, and of one that is only in ``constraints`` it is latest.

        Source: setDefaultObjective in Katib's experiment_defaults.go; additional metrics get
        the same default as the objective's.
        """
        for entry in self.metric_strategies:
            if entry.name == metric:
                return entry.value
        kinds = {aim.metric: aim.type for aim in self.aims}
        if metric not in kinds and any(entry.name == metric for entry in self.constraints):
            return StrategyValue.LATEST
        kind = kinds.get(metric, self.type)
        return StrategyValue.MIN if kind is ObjectiveType.MINIMIZE else StrategyValue.MAX


class Setting(Model):
    """One entry of ``algorithmSettings``."""

    name: str = Field(min_length=1)
    value: ScalarText


class Algorithm(Model):
    """``algorithm``."""

    algorithm_name: str = Field(min_length=1)
    algorithm_settings: tuple[Setting, ...] = ()


class EarlyStopping(Model):
    """``earlyStopping``."""

    algorithm_name: str = Field(min_length=1)
    algorithm_settings: tuple[Setting, ...] = ()


class FileSystemPath(Model):
    """``metricsCollectorSpec.source.fileSystemPath``."""

    path: str | None = None
    kind: Literal["File", "Directory"] | None = None
    format: Literal["TEXT", "JSON"] | None = None


class MetricsFilter(Model):
    """``metricsCollectorSpec.source.filter``: regular expressions, name and value as groups."""

    metrics_format: tuple[str, ...] = ()


class CollectorSource(Model):
    """``metricsCollectorSpec.source``."""

    file_system_path: FileSystemPath | None = None
    http_get: dict[str, Any] | None = None
    filter: MetricsFilter | None = None


class Collector(Model):
    """``metricsCollectorSpec.collector``."""

    kind: str = "StdOut"
    custom_collector: dict[str, Any] | None = None


class MetricsCollectorSpec(Model):
    """``metricsCollectorSpec``: the primary container's output when absent."""

    collector: Collector = Field(default_factory=Collector)
    source: CollectorSource | None = None


class TrialParameter(Model):
    """One entry of ``trialParameters``; ``default`` (an extension) is the text while inactive."""

    name: str = Field(min_length=1)
    description: str = ""
    reference: str = Field(min_length=1)
    default: ScalarText | None = None


class ConfigMapSource(Model):
    """``trialTemplate.configMap``: where the template is kept, when it is not ``trialSpec``."""

    config_map_name: str = Field(min_length=1)
    config_map_namespace: str = Field(min_length=1)
    template_path: str = Field(min_length=1)


class TrialTemplate(Model):
    """``trialTemplate``; ``trialSpec`` is any Kubernetes object with ``${...}`` references."""

    retain: bool = False
    primary_pod_labels: dict[str, str] = Field(default_factory=dict)
    primary_container_name: str | None = None
    success_condition: str | None = None
    failure_condition: str | None = None
    trial_parameters: tuple[TrialParameter, ...] = ()
    trial_spec: dict[str, Any] | None = None
    config_map: ConfigMapSource | None = None


class ExperimentSpec(Model):
    """``spec``. Counts are numbers of trials; None means no limit."""

    parameters: tuple[Parameter, ...] = ()
    objective: Objective
    algorithm: Algorithm
    early_stopping: EarlyStopping | None = None
    parallel_trial_count: Count | None = None
    max_trial_count: Count | None = None
    max_failed_trial_count: Count | None = None
    metrics_collector_spec: MetricsCollectorSpec = Field(default_factory=MetricsCollectorSpec)
    trial_template: TrialTemplate
    resume_policy: Annotated[
        Literal["Never", "LongRunning", "FromVolume"], BeforeValidator(lambda text: text or "Never")
    ] = "Never"
    nas_config: dict[str, Any] | None = None

    @property
    def parallelism(self) -> int:
        """Trials at a time: 3 when absent, never more than ``maxTrialCount``."""
        if self.parallel_trial_count is not None:
            return self.parallel_trial_count
        limit = self.max_trial_count or DEFAULT_PARALLEL_TRIAL_COUNT
        return min(DEFAULT_PARALLEL_TRIAL_COUNT, limit)


class Experiment(Model):
    """A whole Experiment; ``status`` of a file taken from a cluster is accepted and ignored."""

    api_version: Literal["kubeflow.org/v1beta1"]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: ExperimentSpec
    status: Any = Field(default=None, exclude=True)

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.metadata.name

    def document(self) -> dict[str, Any]:
        """The Experiment as plain data in the YAML's names, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
