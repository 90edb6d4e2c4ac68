"""The Katib ``Experiment`` (kubeflow.org/v1beta1) as frozen models with the YAML's names.

The models say which keys and types a file may have. Rules that compare fields are not here: each is
with its concept, and `validation.rules` lists them.

Source: ``pkg/apis/controller/experiments/v1beta1/experiment_types.go`` and
``experiment_defaults.go`` in kubeflow/katib.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

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
    "GraphConfig",
    "Metadata",
    "MetricConstraint",
    "MetricStrategy",
    "MetricsCollectorSpec",
    "MetricsFilter",
    "Model",
    "NasConfig",
    "Objective",
    "ObjectiveType",
    "Operation",
    "Parameter",
    "ParameterType",
    "Setting",
    "StrategyValue",
    "TrialParameter",
    "TrialTemplate",
]

DEFAULT_PARALLEL_TRIAL_COUNT = 3


class ObjectiveType(StrEnum):
    """Whether a smaller or a greater value of an objective is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class ParameterType(StrEnum):
    """Katib's four parameter types."""

    DOUBLE = "double"
    INT = "int"
    DISCRETE = "discrete"
    CATEGORICAL = "categorical"


class Distribution(StrEnum):
    """How likely each value of a range is before any trial has run."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "logUniform"
    NORMAL = "normal"
    LOG_NORMAL = "logNormal"


class StrategyValue(StrEnum):
    """Which of a metric's reports is the trial's value."""

    MIN = "min"
    MAX = "max"
    LATEST = "latest"


def _scalar_text(value: object) -> object:
    """Returns a YAML number as text, where Katib wants a string."""
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
    """Returns one value as a list with one item."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | int | float):
        return (_scalar_text(value),)
    raise ValueError("a value, or a list of values")


ScalarText = Annotated[str, BeforeValidator(_scalar_text)]
"""A string; a YAML number becomes the text of that number."""

Count = Annotated[int, BeforeValidator(_number)]
"""A number of trials; ``true`` and ``false`` are none."""

FiniteNumber = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]
"""A number that is finite."""

ObjectiveWord = Annotated[ObjectiveType, BeforeValidator(_objective_word)]
"""``minimize`` or ``maximize``; the file may say ``min`` or ``max``, too."""

OneOrMore = Annotated[tuple[ScalarText, ...], BeforeValidator(_listed)]
"""A list of texts; the file may hold a single one without a list."""


class Model(BaseModel):
    """A frozen model that refuses unknown keys and has the YAML's names; empty means absent.

    What is empty is null, and as in Katib's API the empty text and the empty list of a field that
    may be left out.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        empty = _empty_values(cls)
        return {
            key: item
            for key, item in value.items()
            if key not in empty or not any(item is each or item == each for each in empty[key])
        }


@cache
def _empty_values(kind: type[Model]) -> dict[str, list[object]]:
    """Returns the values that mean absent, by the names of a model's fields in the file."""
    values: dict[str, list[object]] = {}
    for name, field in kind.model_fields.items():
        empty = values[field.alias or name] = [None]
        if not field.is_required():
            is_union = get_origin(field.annotation) in (Union, UnionType)
            annotations = get_args(field.annotation) if is_union else (field.annotation,)
            empty += [""] if any(map(_is_text, annotations)) else []
            empty += [[]] if any(get_origin(each) is tuple for each in annotations) else []
    return values


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return True
    if get_origin(annotation) is Annotated:
        return _is_text(get_args(annotation)[0])
    return isinstance(annotation, type) and issubclass(annotation, str)


class Metadata(Model):
    """``metadata``. The keys that an API server added are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    name: str
    namespace: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class FeasibleSpace(Model):
    """``feasibleSpace``: either ``min`` and ``max`` (and ``step``) or ``list``; numbers as text."""

    min: ScalarText | None = None
    max: ScalarText | None = None
    step: ScalarText | None = None
    list: tuple[ScalarText, ...] | None = None
    distribution: Distribution = Distribution.UNIFORM

    @field_validator("distribution", mode="before")
    @classmethod
    def _unknown_is_uniform(cls, value: object) -> object:
        return Distribution.UNIFORM if value == "unknown" else value


class Parameter(Model):
    """One entry of ``parameters``.

    ``when`` (an extension) maps names of other parameters to values. The parameter is active if
    each of them has one of its values; without ``when`` the parameter is always active.
    """

    name: str = Field(min_length=1)
    parameter_type: ParameterType | None = None
    feasible_space: FeasibleSpace
    when: dict[str, OneOrMore] | None = None

    @property
    def type(self) -> ParameterType:
        """The type in the file; by default discrete if all items are numbers, or categorical."""
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
    """One objective.

    Attributes:
        metric: The metric's name.
        type: Whether a smaller or a greater value is better.
        goal: The value that a trial has to reach; None for no goal.
    """

    metric: str
    type: ObjectiveType
    goal: float | None

    @property
    def sign(self) -> float:
        """The factor that makes the smaller value the better one: 1 to minimize, -1 to maximize."""
        return 1.0 if self.type is ObjectiveType.MINIMIZE else -1.0

    def reached(self, value: float) -> bool:
        """Returns whether a value meets the goal; False if there is no goal."""
        return self.goal is not None and self.sign * value <= self.sign * self.goal


class Goal(Model):
    """One entry of ``goals``, an extension: an additional metric that is an objective, too."""

    name: str = Field(min_length=1)
    type: ObjectiveWord
    goal: FiniteNumber | None = None


class MetricConstraint(Model):
    """One entry of ``constraints``, an extension: the values of a metric that are acceptable."""

    name: str = Field(min_length=1)
    min: FiniteNumber | None = None
    max: FiniteNumber | None = None


_BY_TYPE = {ObjectiveType.MINIMIZE: StrategyValue.MIN, ObjectiveType.MAXIMIZE: StrategyValue.MAX}


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
        """The names of the objective's metric, which is first, and of the additional metrics."""
        return (self.objective_metric_name, *self.additional_metric_names)

    @cached_property
    def aims(self) -> tuple[Aim, ...]:
        """The objectives: first Katib's one, then those of ``goals``."""
        first = Aim(self.objective_metric_name, self.type, self.goal)
        return (first, *(Aim(entry.name, entry.type, entry.goal) for entry in self.goals))

    def strategy(self, metric: str) -> StrategyValue:
        """Returns the strategy of a metric.

        If the file gives none, the strategy follows the objective's type: min to minimize, else
        max. A metric in ``goals`` follows its own type there. A metric that is only in
        ``constraints`` has the strategy latest.

        Source: setDefaultObjective in Katib's experiment_defaults.go; additional metrics get
        the same default as the objective's.
        """
        return self._strategies.get(metric, _BY_TYPE[self.type])

    @cached_property
    def _strategies(self) -> Mapping[str, StrategyValue]:
        """The strategy of each metric that has one of its own; every look at a trial asks here."""
        return {
            **{entry.name: StrategyValue.LATEST for entry in self.constraints},
            **{aim.metric: _BY_TYPE[aim.type] for aim in self.aims},
            # Of two entries for one metric the first one counts.
            **{entry.name: entry.value for entry in reversed(self.metric_strategies)},
        }


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
    """``metricsCollectorSpec``; by default the primary container's output has the metrics."""

    collector: Collector = Field(default_factory=Collector)
    source: CollectorSource | None = None


class TrialParameter(Model):
    """One entry of ``trialParameters``.

    ``default`` (an extension) is the text in trials in which the parameter is not active.
    """

    name: str = Field(min_length=1)
    description: str = ""
    reference: str = Field(min_length=1)
    default: ScalarText | None = None


class ConfigMapSource(Model):
    """``trialTemplate.configMap``: the ConfigMap that holds the template."""

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


class GraphConfig(Model):
    """``nasConfig.graphConfig``: the layers of the network, and the sizes of its ends."""

    num_layers: Count | None = None
    input_sizes: tuple[Count, ...] = ()
    output_sizes: tuple[Count, ...] = ()


class Operation(Model):
    """One entry of ``nasConfig.operations``: a kind of layer, and what its layers differ in."""

    operation_type: str = ""
    parameters: tuple[Parameter, ...] = ()


class NasConfig(Model):
    """``nasConfig``, in place of ``parameters``: the networks that an architecture search tries."""

    graph_config: GraphConfig = Field(default_factory=GraphConfig)
    operations: tuple[Operation, ...] = ()


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
    resume_policy: Literal["Never", "LongRunning", "FromVolume"] = "Never"
    nas_config: NasConfig | None = None

    @property
    def parallelism(self) -> int:
        """How many trials run at a time: by default 3, or ``maxTrialCount`` if that is less."""
        if self.parallel_trial_count is not None:
            return self.parallel_trial_count
        limit = self.max_trial_count or DEFAULT_PARALLEL_TRIAL_COUNT
        return min(DEFAULT_PARALLEL_TRIAL_COUNT, limit)


class Experiment(Model):
    """A whole Experiment. The ``status`` in a file from a cluster is accepted and ignored."""

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
        """Returns the Experiment as plain data in the YAML's names, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
