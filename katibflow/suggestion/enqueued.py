"""The assignments that an Experiment's annotation wants tried first, checked and in their order.

They come before what the algorithm suggests, count like any other trial, and are found again in
the history, so a run that goes on tries none of them twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault
from katibflow.experiment.types import ParameterType
from katibflow.suggestion.space.dimensions import decimal_of

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts
    from katibflow.experiment.types import Experiment
    from katibflow.suggestion.space.search_space import Space

_NUMBERS = frozenset({ParameterType.INT, ParameterType.DOUBLE})

__all__ = ["ENQUEUE", "enqueued_of", "faults", "is_asked", "read_enqueued"]

ENQUEUE = "katibflow/enqueue"
"""Annotation of the Experiment with the assignments; Katib ignores it."""

_FORM = 'a list of mappings from each active parameter to its value, as [{"lr": 0.01}]'


def is_asked(annotations: Mapping[str, str]) -> bool:
    """Returns whether the annotation is there."""
    return ENQUEUE in annotations


def enqueued_of(experiment: Experiment, space: Space) -> tuple[dict[str, str], ...]:
    """Returns the assignments of an Experiment without faults, as its trials get them."""
    text = experiment.metadata.annotations.get(ENQUEUE)
    if text is None:
        return ()
    made = (_assigned(space, each) for each in read_enqueued(text))
    return tuple(each for each in made if each is not None)


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the annotation."""
    text = parts.metadata.annotations.get(ENQUEUE) if parts.metadata is not None else None
    if text is None:
        return
    path = f"metadata.annotations[{ENQUEUE}]"
    try:
        entries = read_enqueued(text)
    except ValueError as error:
        yield Fault(path, f'"{text}": {error}', _FORM)
        return
    space = _space(parts)
    if space is None:  # the parameters' own faults come first
        return
    seen: list[dict[str, str]] = []
    for index, entry in enumerate(entries):
        where = f"{path}[{index}]"
        wrong = list(_entry_faults(parts, space, entry, where))
        yield from wrong
        assigned = None if wrong else _assigned(space, entry)
        if assigned in seen:
            yield Fault(where, f"{entry} again", "each assignment once")
        if assigned is not None:
            seen.append(assigned)


def _entry_faults(
    parts: Parts, space: Space, entry: Mapping[str, str], where: str
) -> Iterator[Fault]:
    """Yields the faults of one of the assignments."""
    known = {parameter.name: parameter for _, parameter in parts.parameters}
    for name in entry:
        if name not in known:
            yield Fault(f"{where}.{name}", f'"{entry[name]}"', f"only {', '.join(known)}")
    for dimension in space.dimensions:
        if dimension.name not in entry:
            if known[dimension.name].when is None:
                yield Fault(f"{where}.{dimension.name}", "", "a value of its feasibleSpace")
            continue
        try:
            if known[dimension.name].type in _NUMBERS:
                decimal_of(entry[dimension.name])
            dimension.number(entry[dimension.name])
        except (ValueError, ArithmeticError):
            space_text = known[dimension.name].feasible_space.model_dump_json(
                by_alias=True, exclude_none=True, exclude_defaults=True
            )
            yield Fault(
                f"{where}.{dimension.name}",
                f'"{entry[dimension.name]}"',
                f"a value of its feasibleSpace, {space_text}",
            )
            return
    assigned = _assigned(space, entry) if set(entry) <= set(known) else None
    idle = set(entry) - set(assigned) if assigned is not None else set()
    for name in sorted(idle):
        yield Fault(
            f"{where}.{name}", f'"{entry[name]}"', "nothing, as its when does not hold here"
        )


def _assigned(space: Space, entry: Mapping[str, str]) -> dict[str, str] | None:
    """Returns the assignments of the active parameters as texts of the space, None without one."""
    numbers = space.numbers(entry)
    return None if numbers is None else space.drawn(lambda each: numbers[each.name])


def read_enqueued(text: str) -> Sequence[Mapping[str, str]]:
    """Reads the annotation's text, each value as the text that stands there.

    Raises:
        ValueError: It is no list of mappings.
    """
    import yaml

    try:
        # Every scalar is a text: 0.10 is not rounded, and "on" is no boolean.
        node: Any = yaml.compose(text, Loader=yaml.BaseLoader)
        found = yaml.BaseLoader("").construct_document(node) if node is not None else None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("neither JSON nor YAML") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("no list of mappings")
    if not all(isinstance(value, str) for each in found for value in each.values()):
        raise ValueError("a value is no text or number")
    for entry in node.value:
        names = [key.value for key, _ in entry.value]
        if len(names) > len(set(names)):
            raise ValueError(f'"{max(names, key=names.count)}" twice in one mapping')
    return found


def _space(parts: Parts) -> Space | None:
    """Returns the search space, or None if the parameters have faults."""
    from katibflow.suggestion.space import conditions, search_space

    if not parts.complete or any(
        True for rule in (search_space.faults, conditions.faults) for _ in rule(parts)
    ):
        return None
    return search_space.space_of([parameter for _, parameter in parts.parameters])
