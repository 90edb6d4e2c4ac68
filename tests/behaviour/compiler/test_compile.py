"""What the compiler promises: the same file always, the run's parameters, the shipped examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from katibflow.compiler.emit import compile_experiment
from katibflow.errors import InputError
from katibflow.validation.rules import load_experiment
from tests.paths import ROOT
from tests.shell_trials import experiment

COMPILE = """
import sys
from pathlib import Path
from katibflow.compiler.emit import compile_experiment
from katibflow.validation.rules import load_experiment
sys.stdout.write(compile_experiment(load_experiment(Path(sys.argv[1]))).text)
"""


def test_shipped_files_are_what_the_examples_compile_to() -> None:
    layouts = {"mnist.yaml": "rounds", "mnist-controller.yaml": "controller"}
    assert {path.name for path in (ROOT / "compiled").glob("*.yaml")} == set(layouts)
    example = load_experiment(ROOT / "examples" / "mnist.yaml")
    for name, layout in layouts.items():
        compiled = compile_experiment(example, layout=layout).text
        is_same = (ROOT / "compiled" / name).read_bytes() == compiled.encode()
        assert is_same, f"compiled/{name} is not what the library makes now: make compiled"


def test_same_input_same_file_in_another_process_and_folder(tmp_path: Path) -> None:
    example = ROOT / "examples" / "mnist.yaml"
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(example)],
        cwd=tmp_path,
        env={
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Tokyo",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == compile_experiment(load_experiment(example)).text
    assert str(ROOT) not in done.stdout


def test_run_parameters_have_the_experiments_values_as_defaults() -> None:
    tried = experiment("echo loss=1", {"spec.objective.goal": 0.25, "metadata.name": "sweep"})
    root = next(yaml.safe_load_all(compile_experiment(tried).text))["root"]
    parameters = root["inputDefinitions"]["parameters"]
    assert {name: body["defaultValue"] for name, body in parameters.items()} == {
        "name": "sweep",
        "parallelTrialCount": "3",
        "maxTrialCount": "6",
        "maxFailedTrialCount": "none",
        "goal": "0.25",
        "trialTimeout": "none",
        "trialStartTimeout": "none",
        "enqueue": "none",
        "furtherRuns": "none",
        "track": "none",
        "resume": "none",
        "warmStart": "none",
    }
    assert {body["parameterType"] for body in parameters.values()} == {"STRING"}


@pytest.mark.parametrize(
    ("policy", "resume"), [("Never", "none"), ("LongRunning", "all"), ("FromVolume", "all")]
)
def test_resume_policy_says_what_a_run_resumes_by_default(policy: str, resume: str) -> None:
    tried = experiment("echo loss=1", {"spec.resumePolicy": policy})
    root = next(yaml.safe_load_all(compile_experiment(tried).text))["root"]
    assert root["inputDefinitions"]["parameters"]["resume"]["defaultValue"] == resume


def test_the_files_timeouts_are_the_runs_defaults() -> None:
    timeouts = {"katibflow/trialTimeout": "3600", "katibflow/trialStartTimeout": "60"}
    tried = experiment("echo loss=1", {"metadata.annotations": timeouts})
    root = next(yaml.safe_load_all(compile_experiment(tried).text))["root"]
    parameters = root["inputDefinitions"]["parameters"]
    assert parameters["trialTimeout"]["defaultValue"] == "3600"
    assert parameters["trialStartTimeout"]["defaultValue"] == "60"


def test_image_and_package_exclude_each_other() -> None:
    with pytest.raises(InputError, match="one of them"):
        compile_experiment(experiment("echo loss=1"), image="i", package="katibflow==1")
