"""The study history: every trial of an experiment, and its file format, JSON lines.

The trials are values here; what they mean for an objective is in `study.objectives`. The file's
first line is the header, and each further line is one trial, by ascending number.

Header keys: ``format`` ("katibflow-history"), ``version`` (1), ``experiment`` (the Experiment as
plain data in the YAML's names), ``run`` (the id that job names and labels carry), ``seed`` (of the
sampler, 0 to 2**32 - 1), ``rounds`` (how many rounds of the pipeline are over; 0 in other layouts),
``most_rounds`` (how many rounds a run of the pipeline can hold; left out if there is no limit),
``programs`` (name of a file of the trials' programs to its SHA-256, see `runners.local.programs`),
``place`` (what says where the trials run, an option to its value, as ``--on`` to ``kubernetes``),
``kept`` (what the user kept when the Experiment changed: a list with ``trials``, the numbers of the
trials that had ended by then, and ``changes``, sentences that say what is different since),
``warm`` (trials of an earlier experiment, from which the sampler learns and which count for
nothing: a list of trials with numbers of their own, from 0).

Trial keys: ``number`` (from 0), ``state`` (a `TrialState`), ``assignments`` (parameter name to
Katib's string), ``observations`` (metric name to ``latest``, ``min``, ``max``, and ``text`` if what
was reported is no number), ``intermediate`` (the objective's points in order: ``step`` from 0,
``value``, ``time`` as printed by the trial, RFC 3339, and ``epoch`` if the line names one),
``queued`` (when the trial was made from a suggestion), ``start`` (when the job was created, or when
its work began last if a queue held it back; missing if it never ran), ``end``, ``job`` (its name),
``reason`` (one word, as in Katib's conditions), ``message``, ``attributes`` (values that the
sampler stores). The three times are UTC, ISO 8601, with milliseconds; histories of earlier releases
have no ``queued``, and their ``start`` is when the trial was made. A number that is not finite is
the string "NaN", "Infinity" or "-Infinity". Keys without a value are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from katibflow.errors import HistoryError
from katibflow.experiment.types import Experiment
from katibflow.study.bulk import without_search_for_cycles
from katibflow.study.trial import (
    Observation,
    Point,
    Trial,
    TrialState,
    by_number,
    time_text,
)

__all__ = [
    "FORMAT",
    "MOST_TRIALS",
    "SEEDS",
    "VERSION",
    "History",
    "Kept",
    "Observation",
    "Point",
    "Trial",
    "TrialState",
    "by_number",
    "dump_history",
    "dump_trials",
    "load_history",
    "readable_history",
    "time_text",
    "trial_from_data",
    "trial_to_data",
]

FORMAT = "katibflow-history"
VERSION = 1

MOST_TRIALS = 1_000_000
"""A trial's number is below it."""

_WIDEST_GAP = 10_000
"""Numbers without a trial that a history can have; each costs work wherever it is read."""

SEEDS = 2**32
"""The number of seeds: a seed is below it."""


@dataclass(frozen=True)
class Kept:
    """Trials that count although they ran with another Experiment, since the user kept them.

    Attributes:
        trials: The numbers of the trials.
        changes: A sentence for each difference between their Experiment and the later one.
    """

    trials: tuple[int, ...]
    changes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Returns a line that names the trials, and one for each change."""
        numbers = ", ".join(map(str, self.trials)) or "none"
        return [
            f"kept from before a change: the trials {numbers}",
            *(f"  {c}" for c in self.changes),
        ]


@dataclass(frozen=True)
class History:
    """An experiment and its trials so far. The module's docstring explains the fields."""

    experiment: Experiment
    run: str
    seed: int
    trials: Sequence[Trial] = ()
    rounds: int = 0
    most_rounds: int | None = None
    programs: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    warm: tuple[Trial, ...] = ()

    def with_trials(self, trials: Iterable[Trial]) -> History:
        """Returns the history with more trials, which replace trials of the same number."""
        return replace(self, trials=by_number(self.trials).with_items(trials))

    @property
    def next_number(self) -> int:
        """The number of the next new trial."""
        return self.trials[-1].number + 1 if self.trials else 0


def _encode_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a whole number from 0")
    return value


def _number(value: object) -> int:
    if _count(value) >= MOST_TRIALS:
        raise ValueError(f"the trial's number is not below {MOST_TRIALS}")
    return _count(value)


def _optional_time(value: object) -> str | None:
    """Returns a time as it stands; one that no clock can show in UTC is no time."""
    if value is None:
        return None
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is not None:
        moment.astimezone(UTC)
    return _text(value)


def _seed(value: object) -> int:
    if _count(value) >= SEEDS:
        raise ValueError(f"the seed {value!r} is not below 2**32")
    return _count(value)


def _optional_count(value: object) -> int | None:
    return None if value is None else _count(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def trial_to_data(trial: Trial) -> dict[str, Any]:
    """Returns a trial as plain JSON data, without the keys that have no value."""
    data: dict[str, Any] = {
        "number": trial.number,
        "state": trial.state.value,
        "assignments": dict(trial.assignments),
        "observations": {
            name: {
                "latest": _encode_number(seen.latest),
                "min": _encode_number(seen.min),
                "max": _encode_number(seen.max),
                **({"text": seen.text} if seen.text else {}),
            }
            for name, seen in trial.observations.items()
        },
        "intermediate": [
            {
                key: value
                for key, value in (
                    ("step", point.step),
                    ("value", _encode_number(point.value)),
                    ("time", point.time),
                    ("epoch", point.epoch),
                )
                if value is not None
            }
            for point in trial.intermediate
        ],
        "queued": trial.queued,
        "start": trial.start,
        "end": trial.end,
        "job": trial.job,
        "reason": trial.reason,
        "message": trial.message,
        "attributes": dict(trial.attributes),
    }
    return {key: value for key, value in data.items() if value not in (None, "", [], {})} | {
        "assignments": data["assignments"]
    }


def trial_from_data(data: Mapping[str, Any]) -> Trial:
    """Returns a trial from its JSON data.

    Raises:
        HistoryError: A key is missing, or its value does not fit the format.
    """
    try:
        return Trial(
            number=_number(data["number"]),
            state=TrialState(data["state"]),
            assignments={name: _text(value) for name, value in data["assignments"].items()},
            observations={
                name: Observation(
                    latest=_decode_number(seen["latest"]),
                    min=_decode_number(seen["min"]),
                    max=_decode_number(seen["max"]),
                    text=_text(seen.get("text", "")),
                )
                for name, seen in data.get("observations", {}).items()
            },
            intermediate=tuple(
                Point(
                    step=_count(point["step"]),
                    value=_decode_number(point["value"]),
                    time=_optional_text(point.get("time")),
                    epoch=None if point.get("epoch") is None else _count(point["epoch"]),
                )
                for point in data.get("intermediate", ())
            ),
            queued=_optional_time(data.get("queued")),
            start=_optional_time(data.get("start")),
            end=_optional_time(data.get("end")),
            job=_optional_text(data.get("job")),
            reason=_text(data.get("reason", "")),
            message=_text(data.get("message", "")),
            attributes=dict(data.get("attributes", {})),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise HistoryError(f"not a trial of format version {VERSION}: {error!r}") from error


def dump_history(history: History) -> str:
    """Returns the history as JSON lines; the text ends with a newline."""
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "experiment": history.experiment.document(),
        "run": history.run,
        "seed": history.seed,
        "rounds": history.rounds,
    }
    if history.most_rounds is not None:
        header["most_rounds"] = history.most_rounds
    if history.programs:
        header["programs"] = dict(history.programs)
    if history.place:
        header["place"] = dict(history.place)
    if history.kept:
        header["kept"] = [asdict(each) for each in history.kept]
    if history.warm:
        header["warm"] = [trial_to_data(trial) for trial in history.warm]
    return _lines([header]) + dump_trials(history.trials)


def dump_trials(trials: Iterable[Trial]) -> str:
    """Returns the lines of trials in a history's text; each ends with a newline."""
    return _lines(map(trial_to_data, trials))


def _lines(objects: Iterable[Mapping[str, Any]]) -> str:
    text = "".join(
        json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        for line in objects
    )
    # Bytes of a log that are no UTF-8 became lone surrogates, which no UTF-8 file can hold.
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_SURROGATE = re.compile("[\ud800-\udfff]")


def load_history(text: str, source: str = "history") -> History:
    """Reads a whole history of any format version so far (1).

    Args:
        text: The file's text.
        source: The file's name in errors.

    Raises:
        HistoryError: The text is no history, has a later version, or has lines that cannot be read;
            the error lists all these lines.
    """
    history, faults = readable_history(text, source)
    if faults:
        raise HistoryError("\n".join(faults))
    return history


def readable_history(text: str, source: str = "history") -> tuple[History, tuple[str, ...]]:
    """Reads all readable lines of a history, for callers that only show it.

    Args:
        text: The file's text.
        source: The file's name in errors.

    Returns:
        The history with all trials whose lines can be read, and one sentence for each other line.

    Raises:
        HistoryError: The text is no history, or has a later version.
    """
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    history = _header(*(lines[0] if lines else (1, "{}")), source)
    trials: dict[int, Trial] = {}
    faults: list[str] = []
    with without_search_for_cycles():
        for number, line in lines[1:]:
            try:
                trial = trial_from_data(_object(line))
                if trial.number in trials:
                    raise HistoryError(f"trial {trial.number} is there already")
                if trial.number > len(lines) + _WIDEST_GAP:
                    raise HistoryError(f"trial {trial.number} is one of {len(lines) - 1} trials")
            except HistoryError as error:
                faults.append(f"{source}, line {number}: {error}")
            else:
                trials[trial.number] = trial
    return history.with_trials(trials.values()), tuple(faults)


def _header(number: int, line: str, source: str) -> History:
    where = f"{source}, line {number}"
    try:
        header = _object(line)
    except HistoryError as error:
        raise HistoryError(f"{where}: {error}") from error
    if header.get("format") != FORMAT:
        raise HistoryError(f"{where}: no history; allowed: a header of format {FORMAT!r}")
    found = header.get("version")
    if found != VERSION:
        newer = isinstance(found, int) and found > VERSION
        hint = "; it was written by a newer katibflow" if newer else ""
        raise HistoryError(f"{where}: found version {found!r}; allowed: {VERSION}{hint}")
    try:
        return History(
            experiment=Experiment.model_validate(header["experiment"]),
            run=_text(header["run"]),
            seed=_seed(header["seed"]),
            rounds=_count(header.get("rounds", 0)),
            most_rounds=_optional_count(header.get("most_rounds")),
            programs={key: _text(text) for key, text in header.get("programs", {}).items()},
            place={key: _text(text) for key, text in header.get("place", {}).items()},
            kept=tuple(
                Kept(tuple(map(_count, each["trials"])), tuple(map(_text, each["changes"])))
                for each in header.get("kept", ())
            ),
            warm=tuple(map(trial_from_data, header.get("warm", ()))),
        )
    except (
        AttributeError,
        HistoryError,
        KeyError,
        OverflowError,
        TypeError,
        ValueError,
        ValidationError,
    ) as error:
        raise HistoryError(f"{where}: not a header of version {VERSION}: {error}") from error


def _object(line: str) -> Mapping[str, Any]:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise HistoryError("not UTF-8 text") from error
    try:
        data = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise HistoryError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise HistoryError(f"found {line[:40]!r}, allowed: an object")
    return data
