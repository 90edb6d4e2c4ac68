"""Tests whole experiments: the engine with the Kubernetes runner."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from katibflow.engine.events import Update
from katibflow.engine.loop import Result, run_experiment
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.runner import KubernetesRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import History, TrialState
from katibflow.validation.rules import check_document
from tests.doubles.kubernetes.lab import EXPERIMENT, RUN, Lab, batch_job, container, pod_template
from tests.doubles.kubernetes.plays import JobPlay


def document(**spec: Any) -> dict[str, Any]:
    main = container(args=["--lr=${trialParameters.lr}"])
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": EXPERIMENT},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 3,
            "maxTrialCount": 9,
            "parameters": [
                {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "lr", "reference": "lr"}],
                "trialSpec": batch_job(pod_template(main, restartPolicy="Never")),
            },
            **spec,
        },
    }


def trains(play: JobPlay) -> None:
    (pod,) = play.pods()
    rate = play.body["spec"]["template"]["spec"]["containers"][0]["args"][0].removeprefix("--lr=")
    pod.running()
    pod.log(f"loss={rate}")
    pod.exit()
    play.condition("Complete", "CompletionsReached")


def run(
    lab: Lab,
    runner: KubernetesRunner,
    stop: StopRequest | None = None,
    watch: Any = lambda update: None,
    **spec: Any,
) -> Result:
    history = History(check_document(document(**spec), "test"), RUN, 1, tuple(runner.records()))
    return run_experiment(history, runner, watch=watch, stop=stop or StopRequest())


def test_an_experiment_runs_to_its_end_and_is_on_record_in_its_objects(lab: Lab) -> None:
    lab.server.script = trains
    result = run(lab, lab.runner())
    trials = result.history.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 9
    assert all(
        f"{trial.observations['loss'].latest:g}" == f"{float(trial.assignments['lr']):g}"
        for trial in trials
    )
    assert lab.runner().records() == trials
    for trial in trials:
        created = lab.object(trial.number)["metadata"]["creationTimestamp"].removesuffix("Z")
        assert trial.queued and trial.start
        assert trial.start == max(trial.queued, f"{created}.000+00:00")
    lab.server.wait_for(lambda: not lab.pods())
    assert len(lab.server.objects["jobs"]) == 9


def test_a_run_shares_its_watches_asks_little_and_forgets_what_is_over(lab: Lab) -> None:
    lab.server.script = trains
    trial_template = {**document()["spec"]["trialTemplate"], "retain": True}
    lab.template_of(trial_template["trialSpec"], retain=True)
    runner = lab.runner()
    result = run(lab, runner, trialTemplate=trial_template)
    assert len(result.history.trials) == len(lab.pods()) == 9
    assert {lab.server.most_watching["jobs"], lab.server.most_watching["pods"]} == {1}
    asked = [each for each in lab.server.requests if each.verb not in ("list", "watch")]
    assert len(asked) <= 4 * 9  # a job is created, its log read twice, its record written
    assert not any(watch.holds(pod) for watch in runner._watches.all for pod in lab.pods())


def test_a_list_that_grows_too_old_between_its_pages_begins_anew(lab: Lab) -> None:
    lab.server.script = trains
    result = run(lab, lab.runner())
    lab.server.page_size = 4
    runner = lab.runner()
    lab.server.fail(lambda request: "continue" in request.query, 410)
    assert runner.records() == result.history.trials


def test_an_interrupted_experiment_goes_on_from_its_objects(lab: Lab) -> None:
    stop, ended = StopRequest(), []

    def script(play: JobPlay) -> None:
        if play.number < 4 or stop.reason:
            trains(play)
        else:
            (pod,) = play.pods()
            pod.running()

    def watch(update: Update) -> None:
        if type(update).__name__ == "TrialEnded":
            ended.append(update)
            if len(ended) == 4:
                stop.set("the pod of the controller is drained")

    lab.server.script = script
    first = run(lab, lab.runner(), stop, watch)
    assert first.interrupted
    lab.server.wait_for(lambda: not lab.pods())
    second = run(lab, lab.runner())
    assert [trial.number for trial in second.history.trials] == list(range(9))
    assert {trial.state for trial in second.history.trials} == {TrialState.COMPLETE}
    done = [update.trial for update in ended]
    assert [second.history.trials[trial.number] for trial in done] == done


def test_a_hopeless_trial_stopped_early_is_on_record_with_its_last_value(lab: Lab) -> None:
    went_on = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        if play.number < 3:
            pod.log(*[f"loss=0.{number}" for number in (5, 4, 3, 2)])
            pod.exit()
            play.condition("Complete")
            return
        pod.log(*["loss=9.5"] * 4)
        went_on.set()  # and it runs for ever

    lab.server.script = script
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "3"}],
    }
    result = run(lab, lab.runner(), parallelTrialCount=1, maxTrialCount=4, earlyStopping=stopping)
    last = result.history.trials[-1]
    assert went_on.is_set()
    assert (last.state, last.observations["loss"].latest) == (TrialState.PRUNED, 9.5)
    assert lab.runner().records()[-1] == last
    assert lab.object(3)["metadata"]["labels"]["katibflow/state"] == "PRUNED"
    lab.server.wait_for(lambda: not lab.pods())


def test_a_goal_that_is_reached_stops_what_runs(lab: Lab) -> None:
    begun = threading.Semaphore(0)

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        if play.number == 0:
            begun.acquire()
            begun.acquire()
            pod.log("loss=0.001")
            pod.exit()
            play.condition("Complete")
        else:
            begun.release()

    lab.server.script = script
    objective = {"type": "minimize", "objectiveMetricName": "loss", "goal": 0.01}
    result = run(lab, lab.runner(), objective=objective)
    states = [trial.state for trial in result.history.trials]
    assert states == [TrialState.COMPLETE, TrialState.KILLED, TrialState.KILLED]
    lab.server.wait_for(lambda: not lab.pods())


def test_a_template_that_no_cluster_takes_ends_the_experiment_at_its_first_trial(lab: Lab) -> None:
    runner = lab.runner()
    history = History(check_document(document(), "test"), RUN, 1)
    lab.server.fail(lambda request: request.verb == "create", 422, times=9, message="no good")
    with pytest.raises(RunnerError, match="no good"):
        run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
    assert lab.server.count("create", "jobs") <= 3  # those that were begun at once


def test_a_job_that_may_not_be_followed_does_not_outlive_the_run(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()  # and it runs for ever

    lab.server.script = script
    refusal = 'pods is forbidden: User "x" cannot get resource "pods/log"'
    lab.server.fail(lambda request: request.resource == "pods/log", 403, times=9, message=refusal)
    with pytest.raises(RunnerError, match="pods/log"):
        run(lab, lab.runner())
    lab.server.wait_for(lambda: not lab.pods())
    assert all(body["spec"]["suspend"] for body in lab.server.objects["jobs"].values())
