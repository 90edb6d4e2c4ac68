"""Runs that stand still, against API servers over HTTP: followed, shown, listed and stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from katibflow.api.run import Run
from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.cluster import Cluster
from katibflow.client.following import follow
from katibflow.client.reading import ExperimentRun, find_experiment_run
from katibflow.client.records import JobRecords, cluster_of
from katibflow.client.run_view import RunView
from katibflow.client.stopping import WAIT, Stopped, stop_run
from katibflow.client.submitting import Submission, prepare, start, upload
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.handles.kfp import KfpRun
from katibflow.runners.kubernetes.api import Timing
from katibflow.runners.kubernetes.api import connect as connect_to_cluster
from katibflow.runners.kubernetes.job_object import record_patch
from katibflow.study.history import TrialState
from katibflow.validation.rules import check_document
from tests.doubles.kfp.lab import SCRIPT, Done, katibflow, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kfp.workflows import (
    ENDED,
    FULL,
    STUCK,
    aged,
    packed,
    put_step_pod,
    put_workflow,
    recorded,
    sized,
)
from tests.doubles.kubernetes.lab import Lab
from tests.shell_trials import document

SIZE = "the workflow object has 1,035,211 of 1,048,576 bytes"
SMALL = 300_000
START = datetime(2027, 1, 1, 12, tzinfo=UTC)
EARLIER = "2027-01-01T11:00:00+00:00"


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Shown:
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.texts: list[str] = []

    def update(self, update: object) -> None:
        pass

    def steps(self, text: str) -> None:
        self.texts.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Scene:
    """A run that began an hour before `START`, as the server and the cluster have it."""

    server: KfpServer
    lab: Lab
    experiment_run: ExperimentRun
    play: Play
    clock: Clock

    @property
    def run_id(self) -> str:
        return self.experiment_run.run.run_id

    def workflow(self, seconds: float, size: int = FULL) -> None:
        """The run's Workflow, in which a step changed last so many seconds ago."""
        body = sized(packed(aged(recorded(STUCK), seconds, self.clock.now)), size)
        put_workflow(self.lab, self.run_id, body)

    def records(self) -> JobRecords:
        return JobRecords.of(cluster_of("", None), self.experiment_run)

    def reader(self) -> WorkflowReader:
        return WorkflowReader(cluster_of("", None))

    def view(self) -> RunView:
        return RunView(self.experiment_run, self.records(), self.reader(), self.clock)

    def follow(self, *acts: Callable[[], object], cluster: bool = True) -> Shown:
        """Follows the run, with one act after each look, and the run's end after the last."""
        shown, left = Shown(), list(acts)

        def pause() -> bool:
            left.pop(0)() if left else self.play.state("SUCCEEDED")
            return False

        records = self.records() if cluster else None
        view = self.view() if cluster else RunView(self.experiment_run, now=self.clock)
        pipelines = connect(Access(self.server.url))
        follow(pipelines, self.run_id, records, shown, pause, view=view)
        return shown

    def stop(self, cluster: bool = True, pause: Callable[[], object] | None = None) -> Stopped:
        records, reader = (self.records(), self.reader()) if cluster else (None, None)
        wait = pause or (lambda: self.clock.forward(10))
        pipelines = connect(Access(self.server.url))
        return stop_run(pipelines, self.experiment_run, records, reader, wait, self.clock)

    def job(self, number: int, value: float | None = None) -> str:
        """A trial's job, which goes on unless it has a value."""
        return put_trial(self.lab.server, self.run_id, number, value, end=EARLIER).job or ""


@pytest.fixture
def scene(kfp_server: KfpServer, cluster: Lab) -> Iterator[Scene]:
    pipelines = connect(Access(kfp_server.url))
    experiment = check_document(document(SCRIPT), "test")
    ready = prepare(Submission(experiment, "test", image="python:x"))
    run = start(pipelines, ready, upload(pipelines, ready)[0])
    kept = kfp_server.runs[run.run_id]
    kept["created_at"] = f"{START - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    play = Play(kfp_server, kept)
    play.state("RUNNING")
    yield Scene(kfp_server, cluster, find_experiment_run(pipelines, run.run_id), play, Clock())


# Followed


def test_a_run_that_stands_still_is_told_once_with_its_size(scene: Scene) -> None:
    scene.workflow(240)

    def minutes(count: int) -> Callable[[], object]:
        return lambda: scene.clock.forward(60 * count)

    shown = scene.follow(minutes(1), minutes(1), minutes(30))
    (note,) = shown.notes
    assert note.startswith(f"no step has changed for 5 min; {SIZE}")
    assert f"  katibflow stop {scene.run_id}" in note


def test_a_run_that_moves_on_and_stands_still_again_is_told_again(scene: Scene) -> None:
    scene.workflow(360)
    shown = scene.follow(
        lambda: scene.workflow(0, size=FULL - 1000),
        lambda: scene.clock.forward(100),
        lambda: scene.clock.forward(500),
    )
    assert [note.partition(";")[0] for note in shown.notes] == [
        "no step has changed for 6 min",
        "no step has changed for 10 min",
    ]
    assert "1,034,211 of 1,048,576 bytes" in shown.notes[1]


def test_a_trial_s_job_that_runs_for_hours_is_no_standstill(scene: Scene) -> None:
    scene.workflow(7200)
    scene.job(0)
    assert scene.follow(lambda: scene.clock.forward(7200)).notes == []


def test_a_step_s_pod_that_runs_for_hours_is_no_standstill(scene: Scene) -> None:
    scene.workflow(7200)
    put_step_pod(scene.lab, scene.run_id, "controller", "Running")
    assert scene.follow().notes == []


def test_jobs_on_record_as_running_that_have_ended_do_not_hide_a_standstill(scene: Scene) -> None:
    """Their launchers are gone: nobody wrote down how they ended."""
    scene.workflow(360)
    name = scene.job(0)
    complete = {"type": "Complete", "status": "True"}
    scene.lab.server.patch("jobs", name, {"status": {"conditions": [complete]}})
    put_step_pod(scene.lab, scene.run_id, "launcher", "Succeeded")
    (note,) = scene.follow().notes
    assert SIZE in note


def test_pods_that_cannot_start_are_named(scene: Scene) -> None:
    scene.workflow(360, size=SMALL)
    put_step_pod(scene.lab, scene.run_id, "suggestion", "Pending", "ImagePullBackOff")
    (note,) = scene.follow().notes
    assert "pods wait for their start: suggestion (ImagePullBackOff)" in note


def test_a_small_workflow_that_stands_still_leads_to_the_controller(scene: Scene) -> None:
    scene.workflow(360, size=SMALL)
    (note,) = scene.follow().notes
    assert "is the workflow controller running?" in note
    assert "bytes" not in note


def test_without_a_cluster_it_is_told_in_words(scene: Scene) -> None:
    (note,) = scene.follow(cluster=False).notes
    assert note.startswith("Kubeflow Pipelines shows no change for 60 min")


def test_without_a_cluster_a_trial_may_take_long(scene: Scene) -> None:
    scene.play.step("launcher", "RUNNING")
    for task in scene.server.runs[scene.run_id]["run_details"]["task_details"]:
        task["create_time"] = task["start_time"] = "2027-01-01T11:30:00Z"
    shown = scene.follow(lambda: scene.clock.forward(600), cluster=False)
    assert shown.notes == []


@pytest.mark.parametrize(("resource", "status"), [("workflows", 403), ("workflows", 404)])
def test_a_workflow_that_may_not_be_read_is_noted_once_and_not_asked_for_again(
    scene: Scene, resource: str, status: int
) -> None:
    scene.lab.server.fail(lambda request: request.resource == resource, status, times=99)
    shown = scene.follow(lambda: None, lambda: None)
    (note,) = [note for note in shown.notes if "cannot be read" in note]
    assert note.startswith(
        f"the run's workflow cannot be read from the cluster: the API server answers {status}"
    )
    assert scene.lab.server.count("list", resource) == 1
    assert any(note.startswith("Kubeflow Pipelines shows no change") for note in shown.notes)


def test_a_workflow_that_has_not_changed_is_not_fetched_again(scene: Scene) -> None:
    scene.workflow(10)
    scene.follow(lambda: None, lambda: None, lambda: scene.workflow(5))
    asked = [r for r in scene.lab.server.requests if r.resource == "workflows"]
    assert len([r for r in asked if "PartialObjectMetadata" not in r.accept]) == 2


def test_steps_are_those_of_the_workflow_when_kubeflow_pipelines_details_stand_still(
    scene: Scene,
) -> None:
    for number in range(3):
        scene.play.step("launcher", "RUNNING", f"launcher-{number}")
    put_workflow(scene.lab, scene.run_id, packed(aged(recorded(STUCK), 10, START)))
    assert scene.follow().texts == [
        "running: 15 trials ended, 0 running",
        "succeeded: 15 trials ended, 0 running",
    ]


def test_a_cluster_out_of_reach_is_not_asked_again_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = WorkflowReader(connect_to_cluster("kubeflow", None, Timing(give_up=0.0, backoff=0.0)))
    scene.lab.server.down()
    assert reader.workflow(scene.run_id) is None
    (reason,) = reader.new_problems()
    assert "out of reach" in reason
    scene.lab.server.up()
    assert (reader.pods(scene.run_id), reader.new_problems()) == (None, ())
    scene.workflow(10)
    monkeypatch.setattr("katibflow.client.workflow_reader.monotonic", lambda: monotonic() + 61)
    assert reader.workflow(scene.run_id) is not None


# Shown and listed


Ask = Callable[..., Done]


@pytest.fixture
def ask(kfp_server: KfpServer) -> Ask:
    return lambda command, *words: katibflow(command, *words, "--host", kfp_server.url)


def stands_still(scene: Scene, seconds: float = 360, size: int = FULL) -> None:
    """By the real clock, as commands have no other."""
    scene.server.runs[scene.run_id]["created_at"] = "2020-01-01T00:00:00Z"
    scene.clock.now = datetime.now(UTC)
    scene.workflow(seconds, size)


def test_show_says_that_a_run_stands_still(scene: Scene, ask: Ask) -> None:
    stands_still(scene)
    done = ask("show", scene.run_id)
    assert done.code == 0, done.err
    assert "NotFinished: the run is RUNNING\nno step has changed for 6 min; " + SIZE in done.out
    data = json.loads(ask("show", scene.run_id, "--json").out)
    assert (data["stall"]["bytes"], data["stall"]["limit"]) == (FULL, 1_048_576)


def test_list_marks_a_run_that_stands_still_and_says_why(scene: Scene, ask: Ask) -> None:
    stands_still(scene)
    done = ask("list")
    (row,) = done.out.splitlines()[1:]
    assert row.split()[4] == "STALLED"
    assert done.err.startswith(
        f"{scene.experiment_run.run.name}: no step has changed for 6 min; {SIZE}"
    )
    (data,) = json.loads(ask("list", "--json").out)["runs"]
    assert data["state"] == "RUNNING"
    assert data["stall"]["bytes"] == FULL


def test_list_marks_a_run_whose_workflow_is_gone(scene: Scene, ask: Ask) -> None:
    stands_still(scene)
    for name in list(scene.lab.server.objects["workflows"]):
        scene.lab.server.delete("workflows", name)
    done = ask("list")
    (row,) = done.out.splitlines()[1:]
    assert row.split()[4] == "GONE"
    assert "the cluster has no workflow of the run" in done.err


def test_list_looks_at_all_workflows_with_one_request_while_they_move(
    scene: Scene, ask: Ask
) -> None:
    stands_still(scene, 10)
    pipelines = connect(Access(scene.server.url))
    ready = prepare(Submission(scene.experiment_run.experiment, "test", image="python:x"))
    second = start(pipelines, ready, upload(pipelines, ready)[0])
    scene.server.runs[second.run_id]["created_at"] = "2020-01-01T00:00:00Z"
    moving = aged(recorded(STUCK), 10)
    moving["metadata"]["name"] = "second"
    put_workflow(scene.lab, second.run_id, moving)
    scene.lab.server.requests.clear()
    done = ask("list")
    assert (done.out.count("STALLED"), done.err) == (0, "")
    requests = [r for r in scene.lab.server.requests if r.resource == "workflows"]
    asked, *others = requests
    # Those of Argo alone, and trials that are Workflows, are asked for by other labels, once each.
    assert [each.query["labelSelector"] for each in requests] == [
        "pipeline/runid",
        "katibflow/layout",
        "katibflow/experiment",
    ]
    assert all("PartialObjectMetadata" in each.accept for each in others)
    assert "PartialObjectMetadata" in asked.accept


def test_list_goes_without_where_workflows_may_not_be_read(scene: Scene, ask: Ask) -> None:
    stands_still(scene)
    scene.lab.server.rules = (scene.lab.server.rules or [])[:-1]
    done = ask("list")
    assert (done.code, done.err) == (0, "")
    assert "RUNNING" in done.out


def test_show_says_what_the_workflow_says_of_a_failed_run(scene: Scene, ask: Ask) -> None:
    body = recorded(ENDED)
    message = "child 'ptj-tt2qz-1' failed " + "x" * 600 + " the end"
    body["status"].update(phase="Failed", message=message)
    for node in body["status"]["nodes"].values():
        if ".round(0).collector" in node["name"] and "-driver" not in node["name"]:
            node["phase"] = "Failed"
        if node["name"].endswith(".collector(0).executor(0)"):
            node["message"] = "OOMKilled (exit code 137)"
    put_workflow(scene.lab, scene.run_id, body)
    scene.play.state("FAILED", "the backend's words")
    done = ask("show", scene.run_id)
    (line,) = [line for line in done.out.splitlines() if line.startswith("PipelineRunEnded")]
    assert line == (
        "PipelineRunEnded: the run is FAILED; failed steps: collector; the backend's words; "
        f"{message}; collector: OOMKilled (exit code 137)"
    )


def test_a_trial_s_long_reason_keeps_its_end(scene: Scene, ask: Ask) -> None:
    ended = put_trial(scene.lab.server, scene.run_id, 0, 0.5, state=TrialState.FAIL, end=EARLIER)
    long = replace(ended, reason="ReplicaFailed", message="w " * 200 + "CUDA error: out of memory")
    scene.lab.server.patch("jobs", ended.job or "", record_patch(long))
    row = ask("show", scene.run_id).out.splitlines()[1]
    assert "ReplicaFailed" in row
    assert row.endswith("CUDA error: out of memory")


# Stopped


def test_a_run_that_moves_is_only_asked_to_end(scene: Scene) -> None:
    scene.workflow(10, SMALL)
    name = scene.job(0)
    stopped = scene.stop()
    assert (stopped.asked, stopped.acts, stopped.jobs) == (True, True, None)
    assert scene.lab.server.objects["jobs"][name]["spec"].get("suspend") is None
    assert scene.server.runs[scene.run_id]["state"] == "CANCELING"


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(360, FULL), (60, FULL), (360, SMALL)],
    ids=["full and still", "full", "still"],
)
def test_the_jobs_of_a_run_whose_engine_does_not_act_are_stopped_here(
    scene: Scene, seconds: float, size: int
) -> None:
    """Also while one runs, which is no standstill for those who follow it."""
    scene.workflow(seconds, size)
    scene.job(0, 0.5)
    scene.job(1)
    begun = scene.clock.now
    assert scene.view().status(scene.experiment_run.run, None).stall is None
    stopped = scene.stop()
    assert scene.clock.now == begun + timedelta(seconds=WAIT)
    assert (stopped.asked, stopped.acts, stopped.is_done) == (True, False, True)
    (name,) = stopped.jobs or ()
    assert name.endswith("-1")
    assert scene.lab.server.objects["jobs"][name]["spec"]["suspend"] is True
    first, *rest = stopped.lines()
    assert (SIZE in first) == (size == FULL)
    assert "the engine does not act" in rest[0]
    assert rest[1] == f"1 job was stopped: {name}"
    assert "--layout controller --resume " in rest[-1]


def test_an_engine_that_acts_after_all_is_left_to_it(scene: Scene) -> None:
    """As of a run whose trial takes long."""
    scene.workflow(360)
    name = scene.job(0)

    def acts() -> None:
        put_workflow(scene.lab, scene.run_id, sized(aged(recorded(ENDED), 1, START), FULL))

    stopped = scene.stop(pause=acts)
    assert (stopped.acts, stopped.jobs) == (True, None)
    assert scene.lab.server.objects["jobs"][name]["spec"].get("suspend") is None
    assert stopped.lines() == [
        f"{scene.experiment_run.run.name} is being stopped; its step finish then stops its jobs"
    ]


def test_a_run_that_ends_while_it_is_waited_for_is_told_as_over(scene: Scene) -> None:
    scene.workflow(360)
    stopped = scene.stop(pause=lambda: scene.play.state("CANCELED"))
    assert stopped.lines() == [f"{scene.experiment_run.run.name} is over: CANCELED"]


def test_a_run_may_be_stopped_twice(scene: Scene, ask: Ask) -> None:
    stands_still(scene, 10, SMALL)
    assert [ask("stop", scene.run_id).code for _ in range(2)] == [0, 0]
    assert "is being stopped already" in ask("stop", scene.run_id).out
    assert len(scene.server.asked("POST", ":terminate")) == 1


def test_a_run_whose_workflow_was_deleted_is_not_told_to_be_stopping(scene: Scene) -> None:
    """Kubeflow Pipelines makes it CANCELING, answers 500 as the workflow is gone, then 400."""
    scene.play.step("launcher", "RUNNING")
    path = f"runs/{scene.run_id}"

    def has_no_workflow(method: str, asked: str) -> bool:
        if method == "POST" and asked == f"{path}:terminate":
            scene.server.runs[scene.run_id]["state"] = "CANCELING"
            return True
        return False

    scene.server.fail(has_no_workflow, 500)
    empty = scene.stop().lines()
    assert "none of its trials is left:" in empty
    assert "--resume" not in empty[-1]  # it is refused for a run without trials
    left = scene.job(0)
    first, second = scene.stop(), scene.stop()
    assert (first.acts, first.is_done, first.jobs) == (False, True, (left,))
    assert (second.acts, second.is_done, second.jobs) == (False, True, ())
    for stopped in (first, second):
        lines = stopped.lines()
        assert "the cluster has no workflow of the run" in lines[0]
        assert "goes on to show it as CANCELING" in lines[1]
        assert "--resume" in lines[-1]


def test_a_run_of_another_cluster_whose_steps_move_is_left_to_its_engine(scene: Scene) -> None:
    scene.play.step("launcher", "RUNNING")
    stopped = scene.stop(pause=lambda: scene.play.step("launcher", "FAILED"))
    assert (stopped.acts, stopped.jobs) == (True, None)


def test_a_deleted_workflow_is_noted_as_soon_as_a_step_has_begun(scene: Scene) -> None:
    scene.server.runs[scene.run_id]["created_at"] = f"{scene.clock.now:%Y-%m-%dT%H:%M:%SZ}"
    assert scene.follow().notes == []
    scene.play.state("RUNNING")
    scene.play.step("launcher", "RUNNING")
    (note,) = scene.follow().notes
    assert note.startswith("no workflow of the run is in namespace kubeflow: it was deleted")


def test_a_run_that_somebody_else_stops_at_that_moment_is_no_error(scene: Scene) -> None:
    """Kubeflow Pipelines answers that there is no row."""
    scene.workflow(10, SMALL)
    path = f"runs/{scene.run_id}"

    def stopped_by_another(method: str, asked: str) -> bool:
        if method == "POST" and asked.endswith(":terminate"):
            scene.server.runs[scene.run_id]["state"] = "CANCELING"
        return False

    scene.server.fail(stopped_by_another, 500)
    stopped = scene.stop()
    assert (stopped.asked, stopped.run.state) == (False, "CANCELING")
    assert scene.server.asked("GET", path)


def test_a_second_stop_of_a_run_whose_engine_does_not_act_stops_its_jobs(scene: Scene) -> None:
    scene.workflow(360)
    scene.play.state("CANCELING")
    stopped = scene.stop()
    assert (stopped.asked, stopped.acts, stopped.jobs) == (False, False, ())
    assert "0 jobs were stopped: no job of its trials goes on" in stopped.lines()


def test_jobs_that_cannot_be_stopped_from_here_are_named_by_their_label(scene: Scene) -> None:
    stopped = scene.stop(cluster=False)
    assert (stopped.acts, stopped.is_done) == (False, False)
    (line,) = [line for line in stopped.lines() if "could not be stopped from here" in line]
    assert "katibflow/run=" in line


def test_the_command_says_that_the_engine_does_not_act(
    scene: Scene, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_still(scene)
    monkeypatch.setattr("katibflow.client.stopping.WAIT", 0.0)
    done = ask("stop", scene.run_id)
    assert done.code == 0, done.err
    assert SIZE in done.out
    assert "the engine does not act" in done.out
    scene.lab.server.rules = (scene.lab.server.rules or [])[-1:]
    refused = ask("stop", scene.run_id)
    assert refused.code == 1
    assert "could not be stopped from here" in refused.out


def test_a_run_in_python_tells_and_stops_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stands_still(scene)
    monkeypatch.setattr("katibflow.client.stopping.WAIT", 0.0)
    pipelines = connect(Access(scene.server.url))
    cluster = Cluster(pipelines, Access(scene.server.url))
    run = Run(KfpRun(pipelines, scene.experiment_run, cluster))
    stopped = run.stop()
    assert (stopped.acts, stopped.jobs) == (False, ())
    looks: list[str] = []

    def ends_at_the_second_look(method: str, path: str) -> bool:
        looks.append(path)
        if len(looks) == 2:
            scene.play.state("CANCELED")
        return False

    scene.server.fail(ends_at_the_second_look, 500)
    result = run.wait(poll=0.05)
    assert not result.succeeded
    assert SIZE in capsys.readouterr().err
