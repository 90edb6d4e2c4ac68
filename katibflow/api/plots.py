"""The report's plots as figures, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure  # type: ignore[import-untyped]

    from katibflow.study.history import History

__all__ = ["Plots"]


class Plots:
    """The plots of a run, each made when it is asked for, as a figure of Plotly's.

    With several objectives there is a plot of each for some names: ``figure("history-1")``.

    Args:
        history: The run's trials.
    """

    def __init__(self, history: History) -> None:
        self._history = history

    @property
    def names(self) -> list[str]:
        """The names that `figure` takes for this run."""
        from katibflow.report.plots import plot_names

        return plot_names(self._history)

    def figure(self, name: str) -> Figure:
        """Returns a plot by its name.

        Args:
            name: One of `names`.

        Raises:
            InputError: There is no such plot of this run.
            KatibflowError: It cannot be drawn yet; the error says why.
        """
        from katibflow.report.plots import figure_of

        return figure_of(self._history, name)

    def history(self) -> Figure:
        """Returns the objective over the trials, with failed and pruned ones marked."""
        return self.figure("history")

    def importance(self) -> Figure:
        """Returns how much each parameter matters."""
        return self.figure("importance")

    def parallel(self) -> Figure:
        """Returns all trials as lines through their parameters."""
        return self.figure("parallel")

    def slice(self) -> Figure:
        """Returns the objective over each parameter."""
        return self.figure("slice")

    def intermediate(self) -> Figure:
        """Returns what each trial reported while it ran."""
        return self.figure("intermediate")

    def front(self) -> Figure:
        """Returns the Pareto front of several objectives."""
        return self.figure("front")

    def __repr__(self) -> str:
        return f"<Plots: {', '.join(self.names)}>"
