"""Writes the text of a first Experiment, with comments that say what to look at."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from katibflow.collectors.text import filter_for, is_readable
from katibflow.errors import InputError
from katibflow.scaffold.options import Kind, ScriptOption, metrics_of, options_of
from katibflow.scaffold.spaces import Proposal, proposal_for

__all__ = ["Draft", "draft_for", "name_of"]

_MOST = re.compile(r"acc|auc|f1|score|r2|reward|precision|recall|map|bleu|dice|iou", re.IGNORECASE)
_LEAST = re.compile(r"loss|err|mse|mae|rmse|perplexity|ppl|nll|cost", re.IGNORECASE)
_SHARE = re.compile(r"acc|auc|f1|r2|precision|recall|map|dice|iou", re.IGNORECASE)
"""Metrics that are 1 at best."""

_FIRST = re.compile(r"val|test|eval|dev", re.IGNORECASE)

_EXAMPLE = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
options = parser.parse_args()
print(f"loss={(options.lr - 0.03) ** 2}")
"""
"""The program of a draft without a script."""


@dataclass(frozen=True)
class Draft:
    """The text of an Experiment's file, and what a person has to look at.

    Attributes:
        text: The YAML.
        notes: A line for each thing that could not be known.
    """

    text: str
    notes: tuple[str, ...]


def draft_for(name: str, script: str | None, source: str, python: str) -> Draft:
    """Returns a draft of an Experiment.

    Args:
        name: The Experiment's name.
        script: The script's path as seen from the Experiment's folder; None for an example
            program that is in the file itself.
        source: The script's source; parsed, never run.
        python: The version of Python, as ``3.11``, for the image in a cluster.

    Raises:
        InputError: The source is no Python.
    """
    try:
        tree = ast.parse(source if script is not None else _EXAMPLE)
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(
            f"{script}{where}: found a syntax error, {what}; allowed: a Python script"
        ) from error
    options = options_of(tree)
    proposals = {o.name: p for o in options if (p := proposal_for(o)) is not None}
    notes: list[str] = []
    metric, separator = _objective(metrics_of(tree))
    if metric is None:
        notes.append(
            "no text such as loss=... is printed by the script: let it print loss=VALUE, or change "
            "objectiveMetricName"
        )
    if not proposals:
        notes.append("no option to search was found: an example of one is in the file's parameters")
    missing = [o for o in options if o.is_required and o.name not in proposals]
    notes += [f"the script needs {o.flag or o.name}: put its value into command" for o in missing]
    lines = [
        *_head(name, script),
        *_objective_lines(metric or "loss", separator),
        *_parameters(options, proposals),
        *_template(script, options, proposals, missing, python),
    ]
    return Draft("\n".join(lines) + "\n", tuple(notes))


def _objective(found: Sequence[tuple[str, str]]) -> tuple[str | None, str]:
    """Returns the metric that a script most likely is judged by, and the text before its value."""
    judged = [pair for pair in found if _LEAST.search(pair[0]) or _MOST.search(pair[0])]
    held_out = [pair for pair in judged if _FIRST.search(pair[0])]
    return next(iter(held_out or judged), (None, "="))


def _head(name: str, script: str | None) -> Iterator[str]:
    yield f"# Tunes {script or 'an example program'}. On this machine:  katibflow run <this file>"
    yield "# Everything that an Experiment can have: katibflow's docs, and Katib's own."
    yield "apiVersion: kubeflow.org/v1beta1"
    yield "kind: Experiment"
    yield "metadata:"
    yield f"  name: {name}"
    yield "spec:"


def _objective_lines(metric: str, separator: str) -> Iterator[str]:
    is_most = bool(_MOST.search(metric)) and not _LEAST.search(metric)
    yield "  objective:"
    yield f"    type: {'maximize' if is_most else 'minimize'}"
    shown = f"{metric}{separator}0.25"
    yield f"    objectiveMetricName: {_quoted(metric)}  # the trial prints it as {shown}"
    goal = "0.01" if not is_most else "0.99" if _SHARE.search(metric) else ""
    if goal:
        yield f"    # goal: {goal}  # the search ends when it is reached"
    if separator.strip() != "=" or not is_readable(metric):
        pattern = filter_for([metric])
        if separator.strip() == ":":
            number = r"([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
            pattern = rf"({re.escape(metric)})\s*:\s*{number}"
        yield "  metricsCollectorSpec:"
        yield "    collector:"
        yield "      kind: StdOut"
        yield "    source:"
        yield "      filter:"
        yield "        metricsFormat:"
        yield f"          - {_quoted(pattern)}"
    yield "  algorithm:"
    yield "    algorithmName: tpe  # or random, grid, cmaes, hyperband ..."
    yield "  maxTrialCount: 12  # trials in all"
    yield "  parallelTrialCount: 2  # trials at a time"
    yield "  maxFailedTrialCount: 3  # so many failures end the search"


def _parameters(
    options: Sequence[ScriptOption], proposals: Mapping[str, Proposal]
) -> Iterator[str]:
    yield "  parameters:"
    for option in options:
        proposal = proposals.get(option.name)
        if proposal is None:
            continue
        told = [f"default {option.default}"] if option.default is not None else []
        told += [" ".join(option.help.split())] if option.help else []
        yield f"    - name: {option.name}" + (f"  # {'; '.join(told)}" if told else "")
        yield f"      parameterType: {proposal.type}"
        yield "      feasibleSpace:"
        for key, value in proposal.space.items():
            if isinstance(value, list):
                yield f"        {key}: [{', '.join(_quoted(str(item)) for item in value)}]"
            else:
                text = value if key == "distribution" else _quoted(str(value))
                yield f"        {key}: {text}"
    if not proposals:
        yield "    - name: lr  # an example: the script must take it"
        yield "      parameterType: double"
        yield "      feasibleSpace:"
        yield '        min: "0.001"'
        yield '        max: "0.1"'
    left = [o for o in options if o.flag and o.name not in proposals and not o.is_required]
    kept = [o.flag for o in left if o.kind is not Kind.SWITCH]
    if kept:
        yield f"    # not searched, left at their defaults: {', '.join(kept)}"
    switches = [o.flag for o in left if o.kind is Kind.SWITCH]
    if switches:
        flag = switches[0]
        yield f"    # not searched, as no argument says no to it: {', '.join(switches)}"
        yield f"    # It is, if the script takes {flag} and --no-{flag.lstrip('-')} (argparse:"
        yield "    # action=argparse.BooleanOptionalAction)."


def _template(
    script: str | None,
    options: Sequence[ScriptOption],
    proposals: Mapping[str, Proposal],
    missing: Sequence[ScriptOption],
    python: str,
) -> Iterator[str]:
    names = list(proposals) or ["lr"]
    yield "  trialTemplate:"
    yield "    primaryContainerName: main"
    yield "    trialParameters:"
    for name in names:
        yield f"      - name: {name}"
        yield f"        reference: {name}"
    yield "    trialSpec:"
    yield "      apiVersion: batch/v1"
    yield "      kind: Job"
    yield "      spec:"
    yield "        backoffLimit: 0"
    yield "        template:"
    yield "          spec:"
    yield "            restartPolicy: Never"
    yield "            containers:"
    yield "              - name: main"
    yield "                # Only a cluster uses the image: put one here that has the script and"
    yield "                # its packages, with the script's folder as its working folder."
    yield f"                image: docker.io/library/python:{python}"
    if script is not None:
        yield "                # workingDir is left out: here the command is read in this file's"
        yield "                # folder. For an image with another folder: workingDir: /app,"
        yield "                # and here then  katibflow run <this file> --map /app=."
    yield "                command:"
    yield "                  - python"
    if script is None:
        yield "                  - -c"
        yield "                  - |"
        yield from (f"                    {line}".rstrip() for line in _EXAMPLE.splitlines())
    else:
        yield f"                  - {_quoted(script)}"
    for option in missing:
        if not option.flag:
            yield f"                  - FIXME  # {option.name}"
        else:
            yield f"                  - {_quoted(f'{option.flag}=FIXME')}"
    if not proposals:
        yield '                  - "--lr=${trialParameters.lr}"'
    for option in options:
        if option.name in proposals:
            yield from (f"                  - {word}" for word in _words(option))


def _words(option: ScriptOption) -> list[str]:
    reference = f"${{trialParameters.{option.name}}}"
    if option.kind is Kind.FLAGS:
        return [_quoted(reference)]
    if option.flag.startswith("--"):
        return [_quoted(f"{option.flag}={reference}")]
    return [_quoted(option.flag), _quoted(reference)]


def _quoted(text: str) -> str:
    """Returns a text as a YAML scalar on one line."""
    dumped: str = yaml.safe_dump(text, default_style='"', width=10_000, allow_unicode=True)
    return dumped.strip()


def name_of(path: str) -> str:
    """Returns a name for the Experiment of a script."""
    return re.sub("[^a-z0-9]+", "-", PurePosixPath(path).stem.lower()).strip("-") or "experiment"
