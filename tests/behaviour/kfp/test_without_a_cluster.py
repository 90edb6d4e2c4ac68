"""What a person learns of a run who may use Kubeflow Pipelines' API, and no cluster."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import Version
from katibflow.client.following import ending_of
from katibflow.client.kfp_logs import kfp_workflow, published_history
from katibflow.client.reading import find_experiment_run
from katibflow.steps.published import PUBLISHED, publish, read_published
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.study.resume import run_name
from tests.behaviour.kfp.test_hindrances import submitted
from tests.doubles.kfp.lab import Done, katibflow
from tests.doubles.kfp.server import KfpServer, Play
from tests.paths import RECORDED


def recorded() -> dict[str, Any]:
    text = (RECORDED / "kfp" / "workflow-stopped.json").read_text("utf-8")
    body: dict[str, Any] = json.loads(text)
    return body


def printed(history: History) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        publish(history)
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KfpServer, Version]]:
    """A server with a pipeline, which is compiled once."""
    server = KfpServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("home") / "absent"))
        run = submitted(server, tmp_path_factory.mktemp("file"))
    version = run["pipeline_version_reference"]
    yield server, Version(version["pipeline_id"], version["pipeline_version_id"])
    server.close()


class Scene:
    """A run in the double, with the Workflow that was recorded and logs of its steps."""

    def __init__(self, server: KfpServer, version: Version) -> None:
        self.server = server
        server.script = None
        server.logs.clear()
        self.version = version
        self.pipelines = connect(Access(server.url))
        self.run_id = self.pipelines.start("again", "again", version, {}).run_id
        self.run = server.runs[self.run_id]
        self.play().state("RUNNING")
        server.workflows[self.run_id] = recorded()
        workflow = kfp_workflow(self.pipelines, self.run_id)
        assert workflow is not None
        self.nodes = {node.step: node for node in workflow.nodes}

    def history(self) -> History:
        experiment = find_experiment_run(self.pipelines, self.run_id).experiment
        observed = {"loss": Observation(0.25, 0.25, 0.25)}
        trial = Trial(0, TrialState.COMPLETE, {"x": "7"}, observations=observed)
        return History(experiment, run_name(self.run_id), 0).with_trials([trial])

    def play(self) -> Play:
        return Play(self.server, self.run)

    def ask(self, command: str, *words: str) -> Done:
        return katibflow(command, self.run_id, *words, "--host", self.server.url)


@pytest.fixture
def scene(uploaded: tuple[KfpServer, Version]) -> Scene:
    return Scene(*uploaded)


def test_a_step_s_pod_is_known_from_the_workflow(scene: Scene) -> None:
    # as kubectl showed it
    name = "k3stop-wfr5w-retry-system-container-impl-122346788"
    assert scene.nodes["finish"].pod == name
    assert scene.nodes["finish"].node == "k3stop-wfr5w-122346788"


@pytest.mark.parametrize("place", ["pod", "node"])
def test_a_run_s_trials_are_those_that_its_last_step_published(scene: Scene, place: str) -> None:
    scene.play().state("SUCCEEDED")
    log = ["| trial | state |", *printed(scene.history())]
    scene.server.logs[getattr(scene.nodes["finish"], place)] = log
    shown = scene.ask("show")
    assert "0      COMPLETE  0.25" in shown.out
    assert json.loads(scene.ask("best", "--json").out)["assignments"] == {"x": "7"}
    logs = scene.ask("logs")
    assert logs.out.splitlines() == ["==> finish <==", "| trial | state |"]


def test_a_run_that_goes_on_shows_its_steps_and_what_its_controller_says(scene: Scene) -> None:
    play = scene.play()
    play.step("controller", "RUNNING")
    said = "2026-11-29T06:13:46Z trial 0 waits: ImagePullBackOff"
    scene.server.logs[scene.nodes["controller"].pod] = [said]
    shown = scene.ask("show")
    assert ["controller", "RUNNING", "1"] in [line.split() for line in shown.out.splitlines()]
    assert shown.err.splitlines()[1:] == ["==> controller <==", said]
    best = scene.ask("best")
    assert best.code == 1
    assert "no trials can be read: their jobs are read by a kubeconfig" in best.err


def test_who_follows_sees_what_the_controller_says_and_how_the_trials_ended(scene: Scene) -> None:
    at_end = printed(scene.history())  # not in the thread: it is standard output that it redirects
    log = f"/{scene.run_id}/nodes/{scene.nodes['controller'].pod}/log"

    def go_on() -> None:
        scene.server.logs[scene.nodes["controller"].pod] = ["2026-11-29T06:13:46Z trial 0 started"]
        scene.server.wait_for(lambda: bool(scene.server.asked("GET", log)), 60)
        scene.server.logs[scene.nodes["finish"].pod] = at_end
        scene.play().state("SUCCEEDED")

    engine = Thread(target=go_on)
    engine.start()
    done = scene.ask("show", "--follow", "--poll", "0.05")
    engine.join()
    assert sum(line.endswith(" trial 0 started") for line in done.out.splitlines()) == 1
    assert "best trial: 0, loss=0.25" in done.out


def test_a_failed_step_is_quoted_with_its_whole_message(scene: Scene) -> None:
    play = scene.play()
    play.step("controller", "FAILED")
    play.state("FAILED")
    role = [f"rule {number}" for number in range(20)]
    lines = ["begun", "katibflow: the API server answers 403: jobs.batch is forbidden", *role]
    scene.server.logs[scene.nodes["controller"].pod] = lines
    shown = scene.ask("show")
    assert shown.err.splitlines()[-22:] == ["==> controller <==", *lines[1:]]
    assert "failed steps: controller; " in shown.out


def test_a_trial_s_log_is_said_to_be_elsewhere(scene: Scene) -> None:
    done = scene.ask("logs", "0")
    assert done.code == 2
    assert "Kubeflow Pipelines' API has the logs of the steps alone: leave TRIAL out" in done.err


def test_an_installation_without_these_answers_is_no_error(scene: Scene) -> None:
    scene.server.workflows.clear()
    run = find_experiment_run(scene.pipelines, scene.run_id)
    assert published_history(scene.pipelines, run) is None
    page: Callable[[str, str], bool] = lambda method, path: "/v1" in path  # noqa: E731
    scene.server.fail(page, 200, body="<html>", content_type="text/html", times=9)
    assert kfp_workflow(scene.pipelines, scene.run_id) is None
    assert scene.pipelines.log(scene.run_id, "any") is None
    scene.play().state("SUCCEEDED")
    run = find_experiment_run(scene.pipelines, scene.run_id)
    assert ending_of(run.run, None).succeeded


def test_a_line_that_is_no_study_is_none() -> None:
    assert read_published(f"{PUBLISHED}AAAA") is None
    assert read_published(f"{PUBLISHED}?") is None
