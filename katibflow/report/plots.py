"""Makes the report's plots with Optuna, as data for Plotly.

The page around them is in `report.page`. Text from an experiment reaches Plotly without markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from katibflow.errors import InputError, KatibflowError
from katibflow.report.drawing import Marks, adapt
from katibflow.report.drawn import MOST_CURVES, drawn_of
from katibflow.study.history import History, TrialState
from katibflow.study.objectives import is_several, reported_metric
from katibflow.study.optuna_study import quiet_optuna, shown_study

if TYPE_CHECKING:
    import optuna

__all__ = ["Plot", "figure_of", "plot_names", "plots_of"]


@dataclass(frozen=True)
class Plot:
    """One plot, or the reason why it cannot be drawn.

    Attributes:
        key: Names the plot's element in the page.
        title: The plot's heading.
        figure: Plotly's figure as JSON data; None if there is none.
        why_not: A sentence that says why there is no figure; else empty.
        min_width: The width in pixels below which the plot scrolls; 0 (the default) for none.
        drawn: How many of the trials are drawn; empty if all are.
    """

    key: str
    title: str
    figure: Mapping[str, Any] | None
    why_not: str = ""
    min_width: int = 0
    drawn: str = ""


@dataclass(frozen=True)
class _Recipe:
    """How one plot is drawn, or why it cannot be.

    Attributes:
        key: Names the plot's element in the page.
        title: The plot's heading.
        why_not: A sentence that says why there is nothing to draw; empty to draw the plot.
        draw: Makes Plotly's figure.
        min_width: The width in pixels below which the plot scrolls; 0 (the default) for none.
        marks: The trials to mark that Optuna leaves out; None for none.
        spans: Whether the plot's y axis is logarithmic where its values span decades.
        drawn: How many of the trials are drawn; empty if all are.
    """

    key: str
    title: str
    why_not: str
    draw: Callable[[], Any]
    min_width: int = 0
    marks: Marks | None = None
    spans: bool = False
    drawn: str = ""

    def figure(self) -> Any:
        """Returns Plotly's figure.

        Raises:
            KatibflowError: It cannot be drawn; the error says why.
        """
        if self.why_not:
            raise KatibflowError(self.why_not)
        try:
            with quiet_optuna():
                figure = self.draw()
        except Exception as error:
            raise KatibflowError(f"Optuna could not draw this: {error}") from error
        adapt(figure, self.marks, self.spans)
        if self.drawn:
            figure.update_layout(title=f"{figure.layout.title.text} ({self.drawn})")
        return figure


def plots_of(history: History) -> list[Plot]:
    """Returns the plots of a report in their order, also those that cannot be drawn."""
    return [_plot(recipe) for recipe in _recipes(history)]


def plot_names(history: History) -> list[str]:
    """Returns the names that `figure_of` takes for a history, in the report's order."""
    return [recipe.key for recipe in _recipes(history)]


def figure_of(history: History, name: str) -> Any:
    """Returns one plot of the report as Plotly's figure.

    Args:
        history: The history to plot.
        name: One of `plot_names`.

    Raises:
        InputError: There is no plot of this name for this history.
        KatibflowError: The plot cannot be drawn; the error says why.
    """
    recipes = {recipe.key: recipe for recipe in _recipes(history)}
    if name not in recipes:
        raise InputError(f"plots: found {name}; allowed: {', '.join(recipes)}")
    return recipes[name].figure()


def _recipes(history: History) -> list[_Recipe]:
    drawn = drawn_of(history)
    if is_several(history.experiment.spec.objective):
        recipes = _recipes_of_several(drawn.history)
    else:
        recipes = _recipes_of_one(drawn.history)
        recipes.append(_curves(history))
    count = drawn.count_text
    return [replace(each, drawn=each.drawn or count) for each in recipes]


def _curves(history: History) -> _Recipe:
    """Returns the recipe of what the trials reported while they ran, a curve for each."""
    from optuna import visualization
    from optuna.trial import TrialState as OptunaState

    reported = [
        trial
        for trial in history.trials
        if trial.intermediate and trial.state not in (TrialState.FAIL, TrialState.KILLED)
    ]
    drawn = drawn_of(replace(history, trials=tuple(reported)), MOST_CURVES)
    study = shown_study(drawn.history)
    has_values = any(
        trial.intermediate_values
        for trial in study.get_trials(deepcopy=False)
        if trial.state is not OptunaState.FAIL
    )
    metric = reported_metric(history.experiment.spec.objective)
    return _Recipe(
        "intermediate",
        "Intermediate values",
        "" if has_values else f"No trial has reported intermediate values of {metric}.",
        lambda: visualization.plot_intermediate_values(study),
        spans=True,
        drawn=drawn.count_text,
    )


def _recipes_of_one(history: History) -> list[_Recipe]:
    """Returns the recipes for one objective, without the curves."""
    from optuna import visualization
    from optuna.trial import TrialState as OptunaState

    metric = reported_metric(history.experiment.spec.objective)
    study = shown_study(history)
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is OptunaState.COMPLETE]
    too_few = "" if complete else "No trial has completed with a finite objective value."
    parameters = {name for trial in complete for name in trial.params}
    no_parameters = too_few or ("" if parameters else "The trials have no parameters to compare.")
    width = 300 * len(parameters) if len(parameters) > 3 else 0
    return [
        _Recipe(
            "history",
            "Optimization history",
            too_few,
            lambda: _over_time(study, target_name=metric),
            marks=Marks(history, 0),
            spans=True,
        ),
        _Recipe(
            "importance",
            "Parameter importance",
            _no_importance(complete),
            lambda: _importance(study, metric),
        ),
        _Recipe(
            "parallel",
            "Parallel coordinates",
            no_parameters,
            lambda: visualization.plot_parallel_coordinate(study, target_name=metric),
            min_width=max(0, 110 * len(parameters)),
        ),
        _Recipe(
            "slice",
            "Slices",
            no_parameters,
            lambda: visualization.plot_slice(study, target_name=metric),
            min_width=width,
            spans=True,
        ),
    ]


def _over_time(study: optuna.Study, **options: Any) -> Any:
    """Returns the optimization history.

    Optuna takes a trial's number for its place among all trials, which it is not where only some
    are drawn.
    """
    from optuna.visualization import plot_optimization_history

    trials = study.get_trials(deepcopy=False)
    numbers = [trial.number for trial in trials]
    try:
        for place, trial in enumerate(trials):
            trial.number = place
        figure = plot_optimization_history(study, **options)
    finally:
        for number, trial in zip(numbers, trials, strict=True):
            trial.number = number
    for trace in figure.data:
        trace.x = [numbers[place] for place in trace.x]
    return figure


_GOOD = 0.25
"""The share of the trials whose parameters are compared with those of all trials."""

_FEWEST_FOR_IMPORTANCE = 8
"""Fewer trials have fewer than two good ones, and what sets a single one apart is chance."""


def _importance(study: optuna.Study, metric: str = "Objective Value") -> Any:
    """Returns the importance of the parameters by global PED-ANOVA, which needs no scikit-learn.

    On known functions of five parameters its ranking is closer to the truth with a quarter of the
    trials as the good ones, in the whole space, than with Optuna's defaults.
    """
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    evaluator = PedAnovaImportanceEvaluator(target_quantile=_GOOD, evaluate_on_local=False)
    return plot_param_importances(study, evaluator=evaluator, target_name=metric)


_MOST_DRAWN_OBJECTIVES = 3
"""Optuna draws a Pareto front of at most this number of objectives."""


def _recipes_of_several(history: History) -> list[_Recipe]:
    """Returns the recipes for several objectives: the front, then plots of each objective."""
    from optuna import visualization
    from optuna.trial import TrialState as OptunaState

    aims = history.experiment.spec.objective.aims
    study = shown_study(history)
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is OptunaState.COMPLETE]
    too_few = "" if complete else "No trial has completed with finite values of all objectives."
    parameters = {name for trial in complete for name in trial.params}
    no_parameters = too_few or ("" if parameters else "The trials have no parameters to compare.")
    drawn = len(aims) <= _MOST_DRAWN_OBJECTIVES
    recipes = [
        _Recipe(
            "front",
            "Pareto front",
            too_few,
            lambda: (
                visualization.plot_pareto_front(study)
                if drawn
                else _objectives_side_by_side(complete, [aim.metric for aim in aims])
            ),
        ),
        _Recipe(
            "importance",
            "Parameter importance",
            _no_importance(complete),
            lambda: _importance(study),
        ),
    ]
    draw: Mapping[str, tuple[str, str, Callable[..., Any], int]] = {
        "history": (
            "Optimization history",
            too_few,
            _over_time,
            0,
        ),
        "parallel": (
            "Parallel coordinates",
            no_parameters,
            visualization.plot_parallel_coordinate,
            110 * len(parameters),
        ),
    }
    for key, (title, why_not, make, width) in draw.items():
        for index, aim in enumerate(aims):
            recipes.append(
                _Recipe(
                    f"{key}-{index}",
                    f"{title} of {aim.metric}",
                    why_not,
                    partial(make, study, target=_nth_value(index), target_name=aim.metric),
                    min_width=width,
                    marks=Marks(history, index) if key == "history" else None,
                    spans=key == "history",
                )
            )
    return recipes


def _nth_value(index: int) -> Callable[[optuna.trial.FrozenTrial], float]:
    return lambda trial: float(trial.values[index])


def _objectives_side_by_side(trials: list[optuna.trial.FrozenTrial], names: list[str]) -> Any:
    """Returns a figure of all objectives as parallel coordinates, with a line for each trial."""
    from plotly import graph_objects  # type: ignore[import-untyped]

    columns = zip(*(trial.values for trial in trials), strict=True)
    line = {"color": [trial.values[0] for trial in trials], "colorscale": "Blues"}
    dimensions = [
        {"label": name, "values": list(column)} for name, column in zip(names, columns, strict=True)
    ]
    figure = graph_objects.Figure(graph_objects.Parcoords(line=line, dimensions=dimensions))
    figure.update_layout(title="Objectives of all trials")
    return figure


def _no_importance(complete: list[optuna.trial.FrozenTrial]) -> str:
    """Returns why the importance of parameters cannot be told; empty if it can be."""
    count = len(complete)
    if count < _FEWEST_FOR_IMPORTANCE:
        there_are = "there is one" if count == 1 else f"there are {count or 'none'}"
        return (
            f"Importance needs at least {_FEWEST_FOR_IMPORTANCE} trials with finite objectives; "
            f"{there_are}."
        )
    names = {name for trial in complete for name in trial.params}
    if all(len({trial.params.get(name) for trial in complete}) < 2 for name in names):
        return "Importance needs a parameter with two different values; each has only one so far."
    if all(len(set(column)) < 2 for column in zip(*(t.values for t in complete), strict=True)):
        return "Importance needs two different objective values; all trials have the same."
    return ""


def _plot(recipe: _Recipe) -> Plot:
    """Draws one plot, or returns the reason why not: a report is worth having without one."""
    try:
        figure = recipe.figure()
    except KatibflowError as error:
        return Plot(recipe.key, recipe.title, None, str(error), drawn=recipe.drawn)
    data = _without_markup(json.loads(figure.to_json()))
    figure_data = {"data": data["data"], "layout": _laid_out(data["layout"])}
    return Plot(
        recipe.key, recipe.title, figure_data, min_width=recipe.min_width, drawn=recipe.drawn
    )


_AXIS = re.compile(r"[xy]axis[0-9]*")


def _laid_out(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Returns Optuna's layout in the page's colors, without a width, with narrower margins."""
    clear = "rgba(0,0,0,0)"
    axis = {"gridcolor": "#dfe3e9", "zerolinecolor": "#dfe3e9", "automargin": True}
    adapted = {
        name: value | axis if _AXIS.fullmatch(name) else value
        for name, value in layout.items()
        if name != "width"
    }
    return adapted | {
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": "#1d2430"},
        "margin": {"l": 64, "r": 32, "t": 72, "b": 56},
        "modebar": {"bgcolor": clear, "color": "#a0aab8", "activecolor": "#1457b8"},
    }


_FOREIGN_TAG = re.compile(r"<(?!(?:br|b|/b|extra|/extra)>)")


def _without_markup(value: Any) -> Any:
    """Returns the JSON data with all markup escaped but the harmless tags that Optuna uses."""
    if isinstance(value, str):
        return _FOREIGN_TAG.sub("&lt;", value)
    if isinstance(value, list):
        return [_without_markup(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_markup(item) for name, item in value.items()}
    return value
