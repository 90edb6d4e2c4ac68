"""What `katibflow init` reads from a script's source, and the Experiment that it makes of it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.errors import InputError
from katibflow.scaffold.carried import EXAMPLES
from katibflow.scaffold.document import draft_for
from katibflow.scaffold.options import Kind, metrics_of, options_of
from katibflow.validation.rules import check_document
from tests.paths import ROOT

ARGPARSE = """
import argparse
LR = 1e-3
p = argparse.ArgumentParser()
p.add_argument("-l", "--lr", "--learning-rate", type=float, default=LR, help="of Adam: the rate")
p.add_argument("--batch-size", type=int, default=2 ** 2 * 16 if False else 64)
p.add_argument("--epochs", type=int, default=3)
p.add_argument("--opt", choices=["sgd", "adam"], default="adam")
p.add_argument("--width", type=int, choices=[32, 64])
p.add_argument("--dropout", type=float, default=0.1)
p.add_argument("--augment", action=argparse.BooleanOptionalAction)
p.add_argument("--cuda", action="store_true")
p.add_argument("--sizes", nargs="+", type=int)
p.add_argument("--data", required=True)
raise SystemExit("this source is never run")
print(f"epoch {e}: train_loss={a:.4f} val_loss={b:.4f}")
"""
CLICK = """
import click
@click.command()
@click.option("--lr", default=0.01, type=click.FloatRange(1e-4, 0.5))
@click.option("--opt", type=click.Choice(["a", "b"]))
@click.option("--bn/--no-bn", default=True)
@click.option("-k", type=int, default=4)
def main(lr, opt, bn, k):
    click.echo("accuracy: {:.3f}".format(lr))
"""
TYPER = """
from enum import Enum
from typing import Annotated, Literal
import typer
app = typer.Typer()
class Opt(str, Enum):
    adam = "adam"
    sgd = "sgd"
@app.command()
def main(data: str, lr: float = 0.01, layers: Annotated[int, typer.Option(min=1, max=4)] = 2,
         opt: Opt = Opt.adam, act: Literal["relu", "gelu"] = "relu", wide: bool = False,
         gamma: float = typer.Option(0.9, help="discount"), *, seed: int = 0):
    print("score=%f" % lr)
"""


def drafted(source: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The spec of a draft, which has no faults, and its notes."""
    draft = draft_for("mine", "train.py", source, "3.11")
    document = yaml.safe_load(draft.text)
    check_document(document, "draft")
    return document["spec"], draft.notes


def spaces(spec: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    return {
        each["name"]: (each["parameterType"], each["feasibleSpace"]) for each in spec["parameters"]
    }


def command(spec: dict[str, Any]) -> list[str]:
    job = spec["trialTemplate"]["trialSpec"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words: list[str] = container["command"]
    return words


def test_options_of_argparse_become_parameters() -> None:
    spec, notes = drafted(ARGPARSE)
    assert spaces(spec) == {
        "lr": ("double", {"min": "0.0001", "max": "0.01", "distribution": "logUniform"}),
        "opt": ("categorical", {"list": ["sgd", "adam"]}),
        "width": ("discrete", {"list": ["32", "64"]}),
        "dropout": ("double", {"min": "0", "max": "0.5"}),
        "augment": ("categorical", {"list": ["--augment", "--no-augment"]}),
    }
    assert command(spec)[:5] == [
        "python",
        "train.py",
        "--data=FIXME",
        "--lr=${trialParameters.lr}",
        "--opt=${trialParameters.opt}",
    ]
    assert command(spec)[-1] == "${trialParameters.augment}"
    assert spec["objective"] == {"type": "minimize", "objectiveMetricName": "val_loss"}
    assert notes == ("the script needs --data: put its value into command",)


def test_options_of_click_become_parameters() -> None:
    spec, _ = drafted(CLICK)
    assert spaces(spec) == {
        "lr": ("double", {"min": "0.0001", "max": "0.5", "distribution": "logUniform"}),
        "opt": ("categorical", {"list": ["a", "b"]}),
        "bn": ("categorical", {"list": ["--bn", "--no-bn"]}),
        "k": ("int", {"min": "2", "max": "8"}),
    }
    assert command(spec)[-2:] == ["-k", "${trialParameters.k}"]
    assert spec["objective"]["type"] == "maximize"
    (pattern,) = spec["metricsCollectorSpec"]["source"]["filter"]["metricsFormat"]
    assert "accuracy" in pattern, "accuracy: 0.5 is not what the default filter reads"


def test_options_of_typer_become_parameters() -> None:
    spec, notes = drafted(TYPER)
    found = spaces(spec)
    assert list(found) == ["lr", "layers", "opt", "act", "wide", "gamma"]
    assert found["layers"] == ("int", {"min": "1", "max": "4"})
    assert found["opt"] == ("categorical", {"list": ["adam", "sgd"]})
    assert found["gamma"] == ("double", {"min": "0", "max": "0.99"})
    assert "FIXME" in command(spec)
    assert notes == ("the script needs data: put its value into command",)


def test_a_default_that_cannot_be_read_is_none() -> None:
    (option,) = options_of(ast.parse('p.add_argument("--lr", type=float, default=rate())'))
    assert (option.kind, option.default) == (Kind.FLOAT, None)
    assert metrics_of(ast.parse('print("acc=%s, loss: {}".format(1))')) == [
        ("acc", "="),
        ("loss", ": "),
    ]


def test_a_script_without_options_gets_an_example_and_is_told_so() -> None:
    spec, notes = drafted("print('hello')")
    assert list(spaces(spec)) == ["lr"]
    assert len(notes) == 2
    with pytest.raises(InputError, match=r"train\.py, line 1: found a syntax error"):
        draft_for("mine", "train.py", "def", "3.11")


def test_every_example_has_its_files() -> None:
    for name, example in EXAMPLES.items():
        for path, content in example.files().items():
            assert (
                ROOT / ("examples" if path.endswith("yaml") else ".") / path
            ).read_bytes() == content
        assert example.commands()[-1].startswith(f"katibflow run {name}.yaml")
    assert Path(ROOT / "katibflow/scaffold/examples").is_symlink()


def test_a_flag_that_nothing_says_no_to_is_left_out_and_the_file_says_why() -> None:
    text = draft_for("x", "train.py", ARGPARSE, "3.11").text
    assert "# not searched, as no argument says no to it: --cuda\n" in text
    assert "--cuda and --no-cuda" in text
    (others,) = [line for line in text.splitlines() if "left at their defaults" in line]
    assert "--epochs" in others and "--cuda" not in others


@pytest.mark.parametrize(
    ("metric", "goal"), [("val_accuracy", "0.99"), ("val_loss", "0.01"), ("reward", None)]
)
def test_the_goal_beside_the_objective_is_one_to_be_reached_late(
    metric: str, goal: str | None
) -> None:
    text = draft_for("x", "t.py", f'print(f"{metric}={{x}}")', "3.11").text
    goals = [line.split()[2] for line in text.splitlines() if "# goal:" in line]
    assert goals == ([] if goal is None else [goal])
