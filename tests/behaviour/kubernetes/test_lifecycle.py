"""Tests a trial's job from its creation to its record, and everything that stops it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from katibflow.errors import InputError, RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Observation, Point, TrialState
from tests.behaviour.runner_contract import Watch, trial
from tests.doubles.kubernetes import server
from tests.doubles.kubernetes.bodies import Refused
from tests.doubles.kubernetes.lab import (
    EXPERIMENT,
    FAST,
    RUN,
    SOON,
    Lab,
    batch_job,
    container,
    notices,
    pod_template,
    pytorch_job,
    replicas,
)
from tests.doubles.kubernetes.plays import JobPlay, completes
from tests.doubles.kubernetes.server import ACCOUNT

NAME = f"{EXPERIMENT}-{RUN}-0"


def runs_for_ever(play: JobPlay) -> None:
    for pod in play.pods():
        pod.running()
        pod.log("begun")


def finished(number: int = 0, state: TrialState = TrialState.COMPLETE) -> object:
    return trial(
        number,
        state,
        observations={"loss": Observation(0.5, 0.4, 0.6)},
        intermediate=(Point(0, 0.6), Point(1, 0.5)),
        reason="TrialSucceeded",
    )


def test_the_job_carries_labels_and_assignments_and_so_do_its_pods(lab: Lab) -> None:
    lab.template_of(pytorch_job())
    lab.run(completes())
    metadata = lab.object()["metadata"]
    own = {"katibflow/experiment": EXPERIMENT, "katibflow/run": RUN, "katibflow/trial": "0"}
    assert own.items() <= metadata["labels"].items()
    assert json.loads(metadata["annotations"]["katibflow/assignments"]) == {"lr": "0.01"}
    for pod in lab.server.objects["pods"].values():
        assert own.items() <= pod["metadata"]["labels"].items()


def test_the_sidecar_is_kept_out_unless_the_template_says_otherwise(lab: Lab) -> None:
    key = "sidecar.istio.io/inject"
    lab.run(completes())
    (pod,) = lab.server.objects["pods"].values()
    assert pod["metadata"]["labels"][key] == pod["metadata"]["annotations"][key] == "false"
    wanted = pod_template(restartPolicy="Never") | {"metadata": {"annotations": {key: "true"}}}
    lab.template_of(batch_job(wanted))
    lab.runner().run(lab.trial_job(1), Watch(), StopRequest())
    pod = lab.server.objects["pods"][f"{EXPERIMENT}-{RUN}-1-job-0"]
    assert pod["metadata"]["annotations"][key] == "true"
    assert key not in pod["metadata"]["labels"]


def test_an_owner_takes_the_jobs_along(lab: Lab) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "launcher", "uid": "u1"}
    lab.runner(owner=owner).run(lab.trial_job(), Watch(), StopRequest())
    (reference,) = lab.object()["metadata"]["ownerReferences"]
    assert owner.items() <= reference.items()


def test_a_running_job_is_adopted_and_seen_from_its_first_line(lab: Lab) -> None:
    go = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("one", "two")
        assert go.wait(20)
        pod.log("three")
        pod.exit()
        play.condition("Complete")

    first, watch, _ = lab.begin(script)
    watch.wait_for_line("two")
    second, again, _ = lab.begin()
    again.wait_for_line("two")
    go.set()
    assert {first.result(10).state, second.result(10).state} == {JobState.SUCCEEDED}
    assert again.lines == ["one", "two", "three"]
    assert len(lab.pods()) == 1


def test_an_adopted_jobs_time_counts_from_its_works_start(lab: Lab) -> None:
    _, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    created = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    lab.server.patch("jobs", NAME, created)
    second, again, _ = lab.begin(limits=Limits(trial=3600))
    again.wait_for_line("begun")
    assert not second.done()  # its pod has run for a moment only
    (pod,) = lab.pods()
    running = {"startedAt": "2026-01-01T00:00:01Z"}
    status = {"name": "main", "restartCount": 0, "state": {"running": running}}
    lab.server.patch("pods", pod, {"status": {"containerStatuses": [status]}})
    outcome = lab.runner().run(lab.trial_job(0, Limits(trial=3600)), Watch(), StopRequest())
    assert outcome.reason == "TrialTimedOut"
    stop.set("done")


def test_an_adopted_job_that_has_ended_ends_when_it_did_by_itself(lab: Lab) -> None:
    lab.run(completes())  # nobody has put it on record
    ended = {"completionTime": "2026-01-01T00:01:35Z"}
    lab.server.patch("jobs", NAME, {"status": ended})
    adopted = lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert (adopted.state, adopted.end) == (JobState.SUCCEEDED, "2026-01-01T00:01:35.000+00:00")


def test_a_trials_start_is_its_jobs_creation(lab: Lab) -> None:
    future, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    created = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    lab.server.patch("jobs", NAME, created)
    again, adopting, _ = lab.begin(limits=Limits())
    adopting.wait_for_line("begun")
    record = json.loads(lab.object()["metadata"]["annotations"]["katibflow/record"])
    assert "start" not in record
    (running,) = lab.runner().records()
    assert running.start == adopting.start == "2026-01-01T00:00:00.000+00:00"
    stop.set("enough")
    assert {future.result(10).state, again.result(10).state} == {JobState.STOPPED}
    lab.runner().record(ended := replace(running, state=TrialState.KILLED))
    assert lab.runner().records() == (ended,)


def test_a_job_that_only_is_a_record_is_no_start(lab: Lab) -> None:
    lab.runner().record(trial(0))
    lab.runner().record(trial(1, TrialState.FAIL))
    assert [each.start for each in lab.runner().records()] == [None, None]


def test_a_container_that_was_restarted_is_read_from_its_earlier_log_on(lab: Lab) -> None:
    go = threading.Event()
    lab.template_of(batch_job(pod_template(restartPolicy="OnFailure"), backoffLimit=2))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("try 1")
        pod.terminated(1)
        pod.running()
        pod.log("try 2")
        assert go.wait(20)
        pod.exit()
        play.condition("Complete")

    future, watch, _ = lab.begin(script)
    watch.wait_for_line("try 2")
    go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert watch.lines == ["try 1", "try 2"]


def test_a_job_that_another_process_put_on_record_is_not_taken_for_deleted(lab: Lab) -> None:
    go = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("begun")
        assert go.wait(20)
        pod.exit()
        with lab.server.changed:
            play.condition("Complete", "CompletionsReached")
            lab.server.patch("jobs", NAME, {"metadata": {"labels": {"katibflow/state": "X"}}})
            lab.server.compact()  # the watch sees the second change only

    future, watch, _ = lab.begin(script)
    watch.wait_for_line("begun")
    go.set()
    outcome = future.result(10)
    assert (outcome.state, outcome.reason) == (JobState.SUCCEEDED, "CompletionsReached")


def test_a_recorded_job_is_adopted_without_its_pods(lab: Lab) -> None:
    first, _ = lab.run(completes())
    lab.runner().record(finished())
    outcome = lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert (outcome.state, outcome.reason) == (first.state, first.reason)
    lab.server.wait_for(lambda: not lab.pods())


def test_a_closed_runner_does_not_leave_a_run_waiting(lab: Lab) -> None:
    runner = lab.runner()
    future, watch, _ = lab.begin(runs_for_ever, runner=runner)
    watch.wait_for_line("begun")
    runner.close()
    with pytest.raises(RunnerError, match="closed"):
        future.result(10)


def test_a_job_of_that_name_that_is_not_ours_is_an_error(lab: Lab) -> None:
    body = batch_job() | {"metadata": {"name": NAME, "labels": {"team": "other"}}}
    lab.server.create("jobs", body)
    with pytest.raises(RunnerError, match=r"exists and is not this run's.*team.*delete it"):
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert lab.object()["metadata"]["labels"] == {"team": "other"}


def test_a_job_that_is_being_deleted_is_waited_for_and_created_anew(lab: Lab) -> None:
    _, watch, _ = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    lab.server.patch("jobs", NAME, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    future, again, _ = lab.begin(completes(["anew"]))
    lab.server.wait_for(
        lambda: any("fieldSelector" in r.query and r.verb == "watch" for r in lab.server.requests)
    )
    lab.server.delete("jobs", NAME)
    assert future.result(10).state is JobState.SUCCEEDED
    assert again.lines == ["anew"]


def test_a_deleted_job_fails_its_trial(lab: Lab) -> None:
    future, watch, _ = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    lab.server.delete("jobs", NAME)
    outcome = future.result(10)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "JobDeleted")


def test_a_job_that_is_gone_before_it_is_first_seen_fails_its_trial(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = lab.server.create

    def create_and_delete(plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        made = create(plural, body)
        lab.server.delete(plural, body["metadata"]["name"])
        return made

    monkeypatch.setattr(lab.server, "create", create_and_delete)
    lab.server.script = None
    future, _, _ = lab.begin()
    outcome = future.result(10)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "JobDeleted")
    assert outcome.message == f"{NAME} was deleted before it was first seen"


def test_reason_and_message_come_from_the_jobs_condition(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = play.pods()
        for pod in pods:
            pod.running()
        pods[0].log("Traceback", "ValueError: lr")
        pods[0].exit(1)
        pods[1].exit(0)
        play.condition("Failed", "PyTorchJobFailed", "PyTorchJob x is failed: 1 Master failed")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "PyTorchJobFailed")
    assert "1 Master failed" in outcome.message
    assert "master-0, container main: ReplicaFailed: exit code 1" in outcome.message
    assert outcome.message.endswith("Traceback\nValueError: lr")


def test_a_workers_only_pytorch_job_is_read_from_worker_0(lab: Lab) -> None:
    lab.template_of(pytorch_job(masters=0, workers=2))

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        for name in ("worker-1", "worker-0"):
            pods[name].running()
            pods[name].log(name)
            pods[name].exit()
        play.condition("Succeeded")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["worker-0"]


@pytest.mark.parametrize("manifest", [batch_job(), pytorch_job()], ids=["Job", "PyTorchJob"])
def test_a_stopped_job_stays_as_the_record_without_pods(
    lab: Lab, manifest: dict[str, object]
) -> None:
    lab.template_of(manifest)
    future, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    stop.set("pruned at report 4")
    assert future.result(10).state is JobState.STOPPED
    body = lab.object()
    assert body["metadata"]["annotations"]["katibflow/stopped"] == "pruned at report 4"
    assert lab.pods() == []


def test_a_job_that_an_old_operator_cannot_suspend_is_deleted_to_stop_it(lab: Lab) -> None:
    lab.template_of(pytorch_job())
    lab.server.drops_suspend = True
    runner = lab.runner()
    future, watch, stop = lab.begin(runs_for_ever, runner=runner)
    watch.wait_for_line("begun")
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED
    runner.record(trial(0, TrialState.KILLED))
    assert lab.pods() == [] and not lab.server.objects["pytorchjobs"]


def test_pods_that_outlive_a_stop_are_deleted(lab: Lab) -> None:
    lab.server.can_suspend = False
    runner = lab.runner(replace(FAST, stop=0.3))
    future, watch, stop = lab.begin(runs_for_ever, runner=runner)
    watch.wait_for_line("begun")
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED
    assert lab.pods() == []


def test_a_recorded_trial_loses_its_pods_and_keeps_its_job(lab: Lab) -> None:
    lab.template_of(pytorch_job())
    runner = lab.runner()
    lab.run(completes())
    assert len(lab.pods()) == 2
    runner.record(finished())
    lab.server.wait_for(lambda: not lab.pods())
    assert lab.object()["metadata"]["labels"]["katibflow/state"] == "COMPLETE"
    assert runner.records() == (finished(),)


def test_retain_keeps_the_pods_and_says_how_to_read_them(lab: Lab) -> None:
    lab.template_of(pytorch_job(), retain=True)
    outcome, _ = lab.run(completes())
    lab.runner().record(finished())
    assert len(lab.pods()) == 2
    assert outcome.logs["worker-0"] == f"kubectl logs -n kubeflow {NAME}-worker-0 -c main"


def test_records_come_in_pages(lab: Lab) -> None:
    runner = lab.runner()
    for number in range(7):
        runner.record(trial(number))
    lab.server.page_size = 3
    assert [record.number for record in runner.records()] == list(range(7))


def test_records_of_other_runs_are_told_apart(lab: Lab) -> None:
    lab.runner().record(finished(0))
    other = lab.runner(run="ffffffff")
    other.record(trial(0, job="contract-ffffffff-0"))
    assert [t.number for t in other.records()] == [0]
    by_run = {each.run: each.trial for each in other.earlier()}
    assert by_run == {RUN: finished(0), "ffffffff": trial(0, job="contract-ffffffff-0")}


def test_what_was_searched_is_on_every_job(lab: Lab) -> None:
    runner = lab.runner(search='{"parameters":[]}')
    runner.run(lab.trial_job(0), Watch(), StopRequest())
    runner.record(finished(1))
    assert [each.search for each in lab.runner().earlier()] == ['{"parameters":[]}'] * 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is no JSON object"),
        ('{"version":9,"number":0}', "a record of version 9, this katibflow reads up to 2"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(
    lab: Lab, text: str, why: str
) -> None:
    lab.runner().record(finished(0))
    lab.runner().record(trial(1))
    lab.runner().record(finished(2))
    for number in (0, 1):
        name = f"contract-0a1b2c3d-{number}"
        lab.server.patch("jobs", name, {"metadata": {"annotations": {"katibflow/record": text}}})
    told: list[str] = []
    runner = lab.runner(tell=told.append)
    over, running, readable = runner.records()
    assert readable == finished(2)
    assert (over.number, over.state, over.reason) == (0, TrialState.FAIL, "RecordUnreadable")
    assert why in over.message and f"katibflow/record of {NAME}" in over.message
    assert (running.number, running.state) == (1, TrialState.RUNNING)
    assert over.assignments == running.assignments == finished(2).assignments
    assert [each.trial for each in runner.earlier()] == [finished(2)]
    assert runner.records() == (over, running, readable)
    assert len(told) == 2 and over.message in told


def test_a_sweep_leaves_other_runs_and_ended_jobs_alone(lab: Lab) -> None:
    lab.run(completes())
    lab.server.script = runs_for_ever
    other = lab.runner(run="ffffffff")
    job = lab.trial_job(1)
    foreign = type(job)(
        trial(1, job="contract-ffffffff-1"), job.manifest, job.primary_container, job.limits
    )
    watch, stop = Watch(), StopRequest()
    thread = threading.Thread(target=other.run, args=(foreign, watch, stop))
    thread.start()
    watch.wait_for_line("begun")
    before = lab.server.count("patch", "jobs")
    lab.runner().sweep((), "the run is over")
    assert lab.server.count("patch", "jobs") == before
    assert lab.server.objects["jobs"]["contract-ffffffff-1"]["spec"].get("suspend") is None
    stop.set("done")
    thread.join()


def test_a_sweep_stops_what_a_killed_launcher_left(lab: Lab) -> None:
    future, watch, _ = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    lab.runner().sweep((), "the run was terminated")
    outcome = future.result(10)
    assert (outcome.state, outcome.message) == (JobState.STOPPED, "the run was terminated")
    assert lab.pods() == []


def test_a_kind_that_the_cluster_does_not_know_is_named_with_its_crd(lab: Lab) -> None:
    manifest = pytorch_job() | {"apiVersion": "kubeflow.org/v2"}
    lab.template_of(
        manifest,
        successCondition='status.conditions.#(type=="Succeeded")#',
        failureCondition='status.conditions.#(type=="Failed")#',
    )
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    text = str(caught.value)
    assert "does not know PyTorchJob (kubeflow.org/v2)" in text
    assert "CustomResourceDefinition pytorchjobs.kubeflow.org" in text
    assert "Training Operator" in text


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "jobs"),
        ("watch", "jobs"),
        ("list", "pods"),
        ("get", "pods/log"),
    ],
)
def test_a_missing_permission_is_told_with_the_role_to_apply(
    lab: Lab, verb: str, resource: str
) -> None:
    rules = lab.server.rules or []
    lab.server.rules = [
        rule | {"verbs": [v for v in rule["verbs"] if v != verb]}
        if resource in rule["resources"]
        else rule
        for rule in rules
    ]
    lab.server.script = runs_for_ever
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(0, SOON), Watch(), StopRequest())
    text = str(caught.value)
    assert f'"{ACCOUNT}" cannot {verb}' in text
    assert "kind: Role\n" in text and "kind: RoleBinding" in text
    assert f"- {resource}" in text and "name: pipeline-runner" in text
    assert "namespace: kubeflow" in text


@pytest.mark.parametrize("words", ["it is not allowed", 'pods "x" not found', "cannot, namespaces"])
def test_what_is_missing_is_not_read_from_the_servers_words(lab: Lab, words: str) -> None:
    lab.server.words = lambda _: words
    rules, lab.server.rules = lab.server.rules, []
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    text = str(caught.value)
    assert text.startswith(f"the API server answers 403: {words}\nApply this in the cluster:\n")
    assert "kind: RoleBinding" in text and "name: pipeline-runner" in text
    lab.server.rules = rules

    def full(plural: str, body: dict[str, object]) -> None:
        details = {"kind": plural, "name": NAME}
        raise Refused(403, "Forbidden", "exceeded quota: jobs", details)

    lab.server.admit = full  # which is no want of permission
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    where = "trials cannot run in namespace kubeflow"
    assert str(caught.value) == f"{where}: the API server answers 403: {words}"

    def denied(plural: str, body: dict[str, object]) -> None:
        raise Refused(403, "Forbidden", "admission webhook denied the request")

    lab.server.admit = denied
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    by = "a webhook of the cluster refuses the Job of trialSpec"
    assert str(caught.value) == f"{by}: the API server answers 403: {words}"
    lab.server.fail(lambda r: r.verb == "create", 404, message='namespaces "kubeflow" not found')
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert str(caught.value) == f"{where}: the API server answers 404: {words}"


def test_a_server_that_reviews_nothing_is_taken_to_miss_a_role(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in list(server.REVIEWS):
        monkeypatch.delitem(server.REVIEWS, path)  # type: ignore[attr-defined]
    lab.server.rules = []
    with pytest.raises(RunnerError) as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert "kind: Role\n" in str(caught.value) and "RoleBinding" not in str(caught.value)


def test_a_template_that_the_server_rejects_is_told_in_its_words(lab: Lab) -> None:
    def admit(plural: str, body: dict[str, object]) -> None:
        raise Refused(422, "Invalid", "spec.template.spec.restartPolicy: Required value")

    lab.server.admit = admit
    with pytest.raises(RunnerError, match=r"422.*restartPolicy: Required value"):
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())


def test_a_missing_namespace_is_named(lab: Lab) -> None:
    lab.server.fail(lambda r: r.verb == "create", 404, message='namespaces "kubeflow" not found')
    with pytest.raises(RunnerError, match='namespaces "kubeflow" not found') as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert "CustomResourceDefinition" not in str(caught.value)


def test_a_manifest_for_another_namespace_is_refused(lab: Lab) -> None:
    lab.template_of(batch_job() | {"metadata": {"namespace": "kube-system"}})
    with pytest.raises(InputError, match="'kube-system'; allowed: 'kubeflow'"):
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert not lab.server.requests


@pytest.mark.parametrize("field", ["experiment", "run"])
@pytest.mark.parametrize("text", ["", "Upper", "a/b", "a,b=c", "-a", "x" * 64, "a\n"])
def test_names_are_checked_before_they_are_used(lab: Lab, field: str, text: str) -> None:
    with pytest.raises(InputError, match=field):
        lab.runner(**{field: text})
    assert not lab.server.requests


def test_no_secret_is_recorded_or_told(lab: Lab) -> None:
    template = pod_template(container(env=[{"name": "KEY", "value": "hunter2"}]))
    lab.template_of(batch_job(template))
    outcome, watch = lab.run(lambda play: play.pods()[0].waiting("InvalidImageName", "bad"))
    lab.runner().record(trial(0, TrialState.FAIL, message=outcome.message))
    told = outcome.message + "".join(notices(watch))
    annotations = lab.object()["metadata"]["annotations"]
    assert "hunter2" not in told + json.dumps(annotations)
    assert "secret-token" not in told + json.dumps(annotations)


def test_requests_per_trial_do_not_grow_with_the_number_of_trials(lab: Lab) -> None:
    runner = lab.runner(replace(FAST, backoff=2.0))
    counts = []
    for number in range(6):
        before = lab.server.request_count
        runner.run(lab.trial_job(number), Watch(), StopRequest())
        runner.record(finished(number))
        counts.append(lab.server.request_count - before)
    assert max(counts[1:]) <= 6  # look, create, its log and the rest of it, record, pods deleted
    assert lab.server.count("watch", "pods") == 1


def test_a_trial_at_rest_makes_no_requests(lab: Lab) -> None:
    _, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    before = lab.server.request_count
    assert not threading.Event().wait(1.5)
    assert lab.server.request_count == before
    stop.set("done")


def test_pods_of_which_the_watch_has_not_told_yet_are_not_left(lab: Lab) -> None:
    lab.server.silent_watches = 2  # both hear nothing after their list
    lab.server.outlives = lambda pod: True

    def script(play: JobPlay) -> None:
        lab.server.wait_for(lambda: lab.server.count("watch", "pods") > 0)
        for pod in play.pods():
            pod.running()

    future, _, stop = lab.begin(script, runner=lab.runner(replace(FAST, stop=0.3)))
    lab.server.wait_for(lambda: bool(lab.server.objects["pods"]))
    stop.set("goal reached")
    assert future.result(20).state is JobState.STOPPED
    assert lab.server.count("delete", "pods") == 1
