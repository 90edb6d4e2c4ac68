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
    assert result.best.value == min(t.value for t in result.trials if t.value is not None)
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
    with pytest.raises(RunnerError, match=f"no trials can be read: .*{run.run_id}"):
        run.result()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"parameters": {"maxTrials": 3}},
            "parameters: found maxTrials (did you mean maxTrialCount?); allowed: enqueue, ",
        ),
        ({"parameters": {"maxTrialCount": 0}}, "spec.maxTrialCount: found 0"),
        ({"parameters": {"resume": "?"}}, 'resume: found "?"'),
        ({"namespace": "Not A Name"}, "namespace"),
        ({"image": "a", "package": "katibflow==1"}, "found both; allowed: one of them"),
        ({"ca_file": "absent.pem"}, "absent.pem: no such file"),
        (
            {"max_trials": 3},
            "max_trials: found a keyword that is no parameter of a run (did you mean "
            "max_trial_count?); allowed",
        ),
        ({"max_trial_count": 0}, "spec.maxTrialCount: found 0"),
        ({"goal": 1, "parameters": {"goal": 1}}, "goal and parameters: found goal in both"),
        ({"schedule": "@daily", "every": "1d"}, "found both; allowed: one of them"),
        ({"schedule": "0 3 * *"}, "4 fields; allowed: 5"),
        ({"every": "6"}, 'found "6"; allowed: a time'),
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
    assert kfp_server.recurring == {}


def test_keywords_are_the_run_s_parameters(kfp_server: KfpServer, tmp_path: Path) -> None:
    Experiment.from_yaml(experiment_file(tmp_path)).submit(
        host=kfp_server.url,
        image="python:katibflow",
        name="other",
        max_trial_count=9,
        goal=None,
        trial_timeout="none",
        parameters={"maxFailedTrialCount": None, "resume": "none"},
    )
    (run,) = kfp_server.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "name": "other",
        "maxTrialCount": "9",
        "trialTimeout": "none",
        "maxFailedTrialCount": "none",
        "resume": "none",
    }


@pytest.mark.parametrize(
    ("when", "trigger"),
    [
        ({"schedule": "0 3 * * *"}, {"cron_schedule": {"cron": "0 0 3 * * *"}}),
        ({"every": "6h"}, {"periodic_schedule": {"interval_second": 21600}}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_schedule_gives_the_recurring_run(
    kfp_server: KfpServer, tmp_path: Path, when: dict[str, Any], trigger: dict[str, Any]
) -> None:
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    arguments = {"host": kfp_server.url, "image": "python:katibflow", "name": "nightly", **when}
    nightly = experiment.submit(**arguments)
    (made,) = kfp_server.recurring.values()
    assert made["trigger"] == trigger
    assert made["runtime_config"]["parameters"] == {"name": "nightly", "resume": "none"}
    assert nightly.recurring_run_id == made["recurring_run_id"]
    assert nightly.name == made["display_name"] == "nightly"
    assert nightly.link == f"{kfp_server.url}/#/recurringrun/details/{made['recurring_run_id']}"
    assert kfp_server.runs == {}
    with pytest.raises(InputError, match='found "nightly", which recurs already'):
        experiment.submit(**arguments)


def test_earlier_trials_that_leave_nothing_to_do_are_told_before_anything_is_uploaded(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    arguments: dict[str, Any] = {"host": kfp_server.url, "image": "python:katibflow"}
    first = experiment.submit(**arguments)
    put_trial(cluster.server, first.run_id, 0, 0.5)
    with pytest.raises(InputError, match="the experiment is over before it begins"):
        experiment.submit(
            resume=first.run_id[:8], max_trial_count=1, parallel_trial_count=1, **arguments
        )
    assert len(kfp_server.runs) == 1
    more = experiment.submit(resume=first.run_id[:8], max_trial_count="+3", **arguments)
    parameters = kfp_server.runs[more.run_id]["runtime_config"]["parameters"]
    assert parameters == {"resume": first.run_id, "maxTrialCount": "+3"}


def test_what_cannot_be_seen_of_earlier_trials_is_a_warning(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    cluster.server.rules = []
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    with pytest.warns(UserWarning, match="earlier trials cannot be seen from here") as told:
        experiment.submit(host=kfp_server.url, image="python:katibflow", resume="all")
    assert [each.filename for each in told] == [__file__]
    assert len(kfp_server.runs) == 1


def test_a_limit_is_warned_of_where_submit_is_called(kfp_server: KfpServer, tmp_path: Path) -> None:
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    with pytest.warns(UserWarning, match="maxTrialCount is missing") as told:
        experiment.submit(
            host=kfp_server.url, image="i", layout="rounds", parameters={"maxTrialCount": None}
        )
    assert [each.filename for each in told] == [__file__]
