"""The Python API: Experiments from files and functions, and their results."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

import katibflow
from katibflow import Experiment, Result, search, tune
from katibflow.errors import InputError, InvalidExperiment, KatibflowError
from katibflow.study.history import TrialState
from tests.e2e.kfp_local import run_pipeline
from tests.shell_trials import document, processes_below


def train(lr: float, layers: int, optimizer: str) -> dict[str, float]:
    import math

    if optimizer == "broken":
        raise RuntimeError("no such optimizer")
    return {"score": -((math.log10(lr) + 2) ** 2) - layers, "layers": layers}


SPACE = {
    "lr": search.double(min=1e-4, max=1e-1, distribution="logUniform"),
    "layers": search.int(min=1, max=3),
    "optimizer": search.categorical(["sgd", "adam", "broken"]),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    experiment = tune(
        train,
        SPACE,
        objective_metric_name="score",
        additional_metric_names=["layers"],
        algorithm_name="random",
        algorithm_settings={"random_state": 1},
        max_trial_count=8,
        parallel_trial_count=2,
    )
    return experiment.run(runs=tmp_path_factory.mktemp("runs"), progress=False)


def test_a_tuned_function_gives_its_best_parameters_as_numbers(result: Result) -> None:
    assert result.succeeded is True
    assert result.reason == "ExperimentMaxTrialsReached"
    assert len(result.trials) == 8
    best = result.best
    values = [trial.value for trial in result.trials if trial.value is not None]
    assert best.value == max(values)
    assert best.metrics["layers"] == best.params["layers"]
    assert [type(best.params[name]) for name in SPACE] == [float, int, str]
    assert train(**best.params)["score"] == best.value
    assert best.logs["job-0"].read_text().startswith(f"score={best.value}")
    assert repr(result).startswith("<Result of train: ExperimentMaxTrialsReached; 8 trials; best ")
    assert result.report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_failed_trial_says_why(result: Result) -> None:
    failed = [trial for trial in result.trials if trial.state is TrialState.FAIL]
    assert failed
    assert {trial.assignments["optimizer"] for trial in failed} == {"broken"}
    assert all("no such optimizer" in trial.message for trial in failed)
    assert all(trial.value is None for trial in failed)


def test_the_study_is_a_real_one_of_optunas(result: Result) -> None:
    study = result.study
    assert isinstance(study, optuna.Study)
    assert study.best_trial.number == result.best.number
    assert study.best_params == result.best.params
    study.enqueue_trial({"lr": 0.01})  # it can go on, apart from the record
    assert len(result.history.trials) == 8


def test_the_table_of_trials_has_a_row_for_each(result: Result) -> None:
    table = result.trials_dataframe()
    assert list(table.columns) == [
        *("state", "metrics_score", "metrics_layers"),
        *("params_lr", "params_layers", "params_optimizer"),
        *("queued", "start", "end", "reason"),
    ]
    assert list(table.index) == list(range(8))
    assert table["metrics_score"].idxmax() == result.best.number
    assert table.loc[table.state == "FAIL", "metrics_score"].isna().all()
    assert (table["end"] >= table["start"]).all()
    assert (table["start"] >= table["queued"]).all()
    assert str(table["start"].dt.tz) == "UTC"


def test_a_result_is_loaded_from_the_runs_folder(result: Result) -> None:
    again = Result.load(result.folder)
    assert again.trials == result.trials
    assert (again.reason, again.succeeded) == (result.reason, True)
    with pytest.raises(InputError, match=r"found no study\.jsonl"):
        Result.load(result.folder / "trials")


def test_a_result_without_trials_has_no_best(tmp_path: Path) -> None:
    experiment = Experiment(
        document("exit 1", {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1})
    )
    result = experiment.run(runs=tmp_path, progress=False)
    with pytest.raises(KatibflowError) as raised:
        _ = result.best
    text = str(raised.value)
    assert "no trial has a finite objective" in text
    assert "1 trial (0): job-0 failed with exit code 1" in text
    assert "job-0.log" in text
    assert result.front == ()
    assert "no trial has a finite objective" in repr(result)
    assert len(result.trials_dataframe()) == 1


def test_an_experiment_of_a_function_is_a_file_like_any_other(tmp_path: Path) -> None:
    made = tune(train, SPACE, max_trial_count=2, namespace="team", retain_trials=True)
    file = tmp_path / "train.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8")
    read = Experiment.from_yaml(file)
    assert read.model == made.model
    assert read.name == made.name == "train"
    assert Experiment.from_yaml(file, name="other").name == "other"
    assert "def train(" in file.read_text()  # readable, not one escaped line


@pytest.mark.long
def test_two_workers_make_a_pytorchjob_that_runs(tmp_path: Path) -> None:
    def distributed(x: float) -> dict[str, float]:
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        total = torch.tensor([x])
        dist.all_reduce(total)
        return {"objective": total.item(), "size": dist.get_world_size()}

    experiment = tune(
        distributed,
        {"x": search.discrete([0.25, 0.5])},
        algorithm_name="grid",
        max_trial_count=2,
        additional_metric_names=["size"],
        workers=2,
    )
    result = experiment.run(runs=tmp_path, progress=False)
    assert [trial.message for trial in result.trials if trial.value is None] == []
    assert sorted(trial.value or 0.0 for trial in result.trials) == [0.5, 1.0]
    assert {trial.metrics["size"] for trial in result.trials} == {2.0}


def test_what_a_cluster_needs_is_in_the_template() -> None:
    experiment = tune(
        train,
        SPACE,
        base_image="registry/image:1",
        env_per_trial={"A": "b"},
        resources_per_trial={"cpu": 2, "gpu": 1},
        workers=3,
        packages_to_install=["numpy"],
        early_stopping_name="medianstop",
        early_stopping_settings={"start_step": 3},
        objective_type="minimize",
        objective_goal=0.5,
        max_failed_trial_count=2,
        metrics_collector_config={"kind": "Push"},
    )
    spec = yaml.safe_load(experiment.to_yaml())["spec"]
    replicas = spec["trialTemplate"]["trialSpec"]["spec"]["pytorchReplicaSpecs"]
    assert {role: each["replicas"] for role, each in replicas.items()} == {"Master": 1, "Worker": 2}
    for each in replicas.values():
        (container,) = each["template"]["spec"]["containers"]
        assert container["image"] == "registry/image:1"
        assert container["env"] == [{"name": "A", "value": "b"}]
        assert container["resources"]["limits"] == {"cpu": 2, "nvidia.com/gpu": 1}
        assert "'numpy'" in container["command"][-1]
    assert spec["objective"] == {
        "type": "minimize",
        "goal": 0.5,
        "objectiveMetricName": "objective",
    }
    assert spec["earlyStopping"]["algorithmSettings"] == [{"name": "start_step", "value": "3"}]
    assert spec["metricsCollectorSpec"] == {"collector": {"kind": "Push"}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workers": 0}, "workers: found 0; allowed: 1 or more"),
        ({"algorithm_name": "dart"}, "spec.algorithm.algorithmName"),
        ({"objective_type": "best"}, "spec.objective.type"),
        ({"parallel_trial_count": 0}, "spec.parallelTrialCount"),
        ({"name": "Not A Name"}, "metadata.name"),
    ],
)
def test_a_wrong_argument_is_told_with_its_place(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        tune(train, SPACE, **arguments)
    assert says in str(caught.value)


def test_a_metric_of_any_name_is_read_from_a_function(tmp_path: Path) -> None:
    def train(x: float) -> dict[str, float]:
        return {"val/loss": x, "top1@acc%": float("nan")}

    experiment = tune(
        train,
        {"x": search.double(min=0.5, max=1)},
        objective_metric_name="val/loss",
        additional_metric_names=["top1@acc%"],
        max_trial_count=1,
    )
    (trial,) = experiment.run(runs=tmp_path, progress=False).trials
    assert trial.value == trial.params["x"]
    assert set(trial.latest) == {"val/loss", "top1@acc%"}


def test_a_traceback_begins_with_the_functions_own_frame(tmp_path: Path) -> None:
    def train(x: float) -> float:
        def inner() -> float:
            raise ValueError("no good")

        return inner()

    experiment = tune(train, {"x": search.double(min=0, max=1)}, max_trial_count=1)
    (trial,) = experiment.run(runs=tmp_path, progress=False).trials
    log = trial.logs["job-0"].read_text()
    assert re.findall(r'File "(.*)", line \d+, in (\w+)', log) == [
        ("objective.py", "train"),
        ("objective.py", "inner"),
    ]
    assert "runpy" not in log


def test_a_function_that_looks_like_a_template_is_refused() -> None:
    def refers(lr: float) -> float:
        print("${trialParameters.lr}")
        return lr

    with pytest.raises(InputError, match=r"found \$\{trial\.\.\.\} in its source"):
        tune(refers, {"lr": SPACE["lr"]})


def test_faults_of_a_document_are_all_told() -> None:
    with pytest.raises(InvalidExperiment) as caught:
        Experiment(document("true", {"spec.maxTrialCount": 0, "spec.objective.type": "best"}))
    assert {fault.path for fault in caught.value.faults} == {
        "spec.maxTrialCount",
        "spec.objective.type",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"on": "moon"}, "on: found moon; allowed: local, kubernetes"),
        ({"trial_timeout": 0}, "trial_timeout: found 0; allowed: seconds, a number above 0"),
        ({"trial_start_timeout": float("nan")}, "trial_start_timeout: found nan"),
        ({"namespace": "team"}, "namespace: found team; allowed: only with"),
        ({"maps": {"relative": "."}}, "relative"),
        ({"trial_timeout": "soon"}, "trial_timeout: found 'soon'; allowed: seconds, a number"),
        ({"trial_timeout": True}, "trial_timeout: found True"),
        ({"storage": 5}, "storage: found 5; allowed: a URL, as sqlite:///studies.db"),
        ({"maps": ["/a=b"]}, "maps: found ['/a=b']; allowed: paths by paths"),
        ({"drain": "no"}, "drain: found 'no'; allowed: True or False"),
        ({"on": None}, "on: found None; allowed: local, kubernetes"),
        ({"namespace": 3}, "namespace: found 3; allowed: a text, or None"),
        (
            {"max_trials": 3},
            "max_trials: found a keyword that run does not take "
            "(did you mean max_trial_count?); allowed: on",
        ),
    ],
)
def test_a_run_with_a_wrong_argument_starts_nothing(
    tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    experiment = Experiment(document("echo loss=1"))
    with pytest.raises(InputError) as caught:
        experiment.run(runs=tmp_path, **arguments)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_unless_it_is_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = Experiment(
        document("echo loss=1", {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1})
    )
    experiment.run(runs=tmp_path / "shown")
    assert "trial 0 complete" in capsys.readouterr().out
    experiment.run(runs=tmp_path / "quiet", progress=False)
    assert capsys.readouterr().out == ""


INTERRUPTED = """
import sys
from pathlib import Path
from katibflow import Experiment

experiment = Experiment.from_yaml("experiment.yaml")
result = experiment.run(trial_timeout=60)
print(result.reason, len(result.trials))
"""


def test_an_interrupted_run_stops_its_trials_and_goes_on_later(tmp_path: Path) -> None:
    text = yaml.safe_dump(document("test -e go || { echo loss=0; sleep 600; }; echo loss=1"))
    (tmp_path / "experiment.yaml").write_text(text.replace("test -e go", f"test -e {tmp_path}/go"))
    words = [sys.executable, "-c", INTERRUPTED]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "trial 2 started" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert processes_below(tmp_path) == []
    (tmp_path / "go").touch()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "ExperimentMaxTrialsReached 6"


@pytest.mark.long
def test_a_tuned_function_compiles_to_a_pipeline_that_runs(tmp_path: Path) -> None:
    experiment = tune(
        train, SPACE, objective_metric_name="score", max_trial_count=2, parallel_trial_count=2
    )
    path = experiment.compile(tmp_path / "train.yaml", layout="rounds")
    run = run_pipeline(tmp_path, path.read_text(encoding="utf-8"))
    assert run.code == 0, run.log
    assert len(run.study.trials) == 2


def test_compiling_to_nowhere_is_told(tmp_path: Path) -> None:
    experiment = tune(train, SPACE, max_trial_count=2)
    with pytest.raises(InputError, match=r"absent/train\.yaml: cannot be written"):
        experiment.compile(tmp_path / "absent" / "train.yaml")


def test_what_a_compiled_file_cannot_hold_is_warned_of(tmp_path: Path) -> None:
    endless = tune(train, SPACE, max_trial_count=None)
    with pytest.warns(UserWarning, match=r"spec\.maxTrialCount is missing"):
        endless.compile(tmp_path / "train.yaml", layout="rounds")


def test_what_the_package_offers_is_there_and_nothing_else() -> None:
    assert all(getattr(katibflow, name) is not None for name in katibflow.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = katibflow.absent  # type: ignore[attr-defined]
