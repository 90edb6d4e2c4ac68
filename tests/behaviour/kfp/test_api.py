"""Runs in Kubeflow Pipelines from Python: submitted, followed, read and stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from katibflow import Experiment
from katibflow.errors import InputError, KatibflowError, RunnerError
from tests.behaviour.kfp.test_end_to_end import trains
from tests.doubles.kfp.engine import local_engine
from tests.doubles.kfp.lab import experiment_file, put_trial
from tests.doubles.kfp.server import KfpServer
from tests.doubles.kubernetes.lab import Lab


def test_a_submitted_experiment_gives_its_result(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.server.script = trains
    kfp_server.script = local_engine(tmp_path, cluster.kubeconfig())
    run = Experiment.from_yaml(experiment_file(tmp_path)).submit(
        host=kfp_server.url,
        layout="controller",
        image="python:katibflow",
        parameters={"maxTrialCount": 3, "parallelTrialCount": 3, "maxFailedTrialCount": None},
    )
    assert run.run_id in kfp_server.runs
    assert run.link.endswith(f"/#/runs/details/{run.run_id}")
    assert run.name in repr(run)
    result = run.wait(poll=0.2)
    assert run.state == "SUCCEEDED"
    assert (result.succeeded, result.reason) == (True, "ExperimentMaxTrialsReached")
    assert result.best is not None
    assert result.best.value == min(trial.value or 1.0 for trial in result.trials)
    assert len(result.study.trials) == 3
    assert "trial 2 complete" in capsys.readouterr().out
    with pytest.raises(KatibflowError, match="has no folder here: it ran in Kubeflow Pipelines"):
        _ = result.report


def test_a_run_is_read_while_it_goes_on_and_stopped(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = Experiment.from_yaml(experiment_file(tmp_path)).submit(host=kfp_server.url)
    put_trial(cluster.server, run.run_id, 0, 0.25)
    put_trial(cluster.server, run.run_id, 1)
    result = run.result()
    assert result.succeeded is None
    assert [trial.value for trial in result.trials] == [0.25, None]
    run.stop()
    assert run.state in ("CANCELING", "CANCELED")


def test_without_a_kubeconfig_a_run_is_submitted_and_its_trials_are_elsewhere(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    run = Experiment.from_yaml(experiment_file(tmp_path)).submit(host=kfp_server.url)
    assert run.run_id in kfp_server.runs
    with pytest.raises(RunnerError, match=f"no kubeconfig leads to those.*{run.run_id}"):
        run.result()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"parameters": {"maxTrials": 3}}, "parameters: found maxTrials; allowed: goal, maxFailed"),
        ({"parameters": {"maxTrialCount": 0}}, "spec.maxTrialCount: found 0"),
        ({"parameters": {"resume": "?"}}, 'resume: found "?"'),
        ({"namespace": "Not A Name"}, "namespace"),
        ({"image": "a", "package": "katibflow==1"}, "found both; allowed: one of them"),
        ({"ca_file": "absent.pem"}, "absent.pem: no such file"),
    ],
)
def test_a_wrong_argument_starts_nothing(
    kfp_server: KfpServer, tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    with pytest.raises(InputError) as caught:
        experiment.submit(host=kfp_server.url, **arguments)
    assert says in str(caught.value)
    assert kfp_server.runs == {}
