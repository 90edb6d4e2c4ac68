"""Tests the local runner's sources of metrics: files, ports, and both after a restart."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from katibflow.collectors.prometheus import ChangedSamples
from katibflow.collectors.sources import Endpoint, Files, SideContainer, Source
from katibflow.collectors.tfevent import EVENT_FILES, EventFiles
from katibflow.runners.base import JobState, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Notice, SourceNote
from katibflow.runners.local import metrics_sources
from katibflow.runners.local.host import Host
from katibflow.runners.local.runner import LocalRunner, PathMap
from katibflow.runners.stopping import StopRequest
from tests.behaviour.collectors.event_files import event, record, simple
from tests.behaviour.runner_contract import PATIENCE, Watch
from tests.doubles.local_lab import LocalLab, batch_job, container, pytorch_job, run

LOG = "/var/log/katib/metrics.log"
FILE = Files(LOG)
KILLED = 9


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLab:
    monkeypatch.setattr(metrics_sources, "SCRAPE_PERIOD", 0.02)
    return LocalLab(tmp_path)


def job(script: str, source: Source, number: int = 0) -> TrialJob:
    return replace(batch_job(number, ["sh", "-c", script]), source=source)


def metrics(watch: Watch) -> list[str]:
    return [event.text for event in watch.events if isinstance(event, MetricLine)]


def notes(watch: Watch) -> list[str]:
    return [event.text for event in watch.events if isinstance(event, SourceNote)]


class TestFiles:
    def test_lines_arrive_while_the_trial_goes_on(self, lab: LocalLab) -> None:
        os.mkfifo(gate := lab.notes / "gate")
        script = f"echo loss=1 > {LOG}; read -r _ < {gate}; printf 'loss=2\\nloss=3' >> {LOG}"
        with ThreadPoolExecutor() as pool:
            watch = Watch()
            future = pool.submit(lab.runner().run, job(script, FILE), watch, StopRequest())
            watch.wait_for(lambda: metrics(watch) == ["loss=1"])
            gate.write_text("go\n")
            assert future.result(PATIENCE).state is JobState.SUCCEEDED
        assert metrics(watch) == ["loss=1", "loss=2", "loss=3"]
        assert notes(watch) == []

    def test_trials_at_the_same_time_have_files_of_their_own(self, lab: LocalLab) -> None:
        runner = lab.runner()
        watches = [Watch() for _ in range(4)]
        with ThreadPoolExecutor() as pool:
            futures = [
                pool.submit(
                    runner.run, job(f"echo {number} >> {LOG}", FILE, number), watch, StopRequest()
                )
                for number, watch in enumerate(watches)
            ]
            assert {future.result(PATIENCE).state for future in futures} == {JobState.SUCCEEDED}
        assert [metrics(watch) for watch in watches] == [["0"], ["1"], ["2"], ["3"]]

    def test_only_the_first_replica_is_read(self, lab: LocalLab) -> None:
        command = ["sh", "-c", f"echo $RANK >> {LOG}"]
        of = replace(pytorch_job(0, command, command, workers=2), source=FILE)
        _, watch = run(lab, of)
        assert metrics(watch) == ["0"]
        (attempt,) = (lab.folder / "trials" / "0000").glob("attempt-*")
        assert (attempt / "metrics-worker-1" / "metrics.log").read_text() == "2\n"

    def test_a_new_attempt_begins_with_no_file(self, lab: LocalLab) -> None:
        os.mkfifo(gate := lab.notes / "gate")
        of = job(f"echo once >> {LOG}; read -r _ < {gate}", FILE)
        for _ in range(2):
            with ThreadPoolExecutor() as pool:
                watch, stop = Watch(), StopRequest()
                future = pool.submit(lab.runner().run, of, watch, stop)
                watch.wait_for(lambda watch=watch: metrics(watch) == ["once"])  # type: ignore[misc]
                stop.set("enough")
                assert future.result(PATIENCE).state is JobState.STOPPED
            assert metrics(watch) == ["once"]

    def test_an_ended_trial_is_read_again_from_its_first_line(self, lab: LocalLab) -> None:
        of = job(f"echo loss=1 >> {LOG}", FILE)
        first, second = run(lab, of)[1], run(lab, of)[1]
        assert metrics(first) == metrics(second) == ["loss=1"]

    @pytest.mark.parametrize(
        ("script", "note"),
        [
            ("true", "there is no file {place}, which stands for " + LOG),
            (f": > {LOG}", "the file {place} is empty"),
        ],
    )
    def test_why_there_is_nothing_is_said(self, lab: LocalLab, script: str, note: str) -> None:
        _, watch = run(lab, job(script, FILE))
        (text,) = notes(watch)
        place = lab.folder / "trials" / "0000" / "attempt-1" / "metrics" / "metrics.log"
        assert text.startswith(note.format(place=place))

    def test_a_users_map_of_the_same_folder_stays_save_for_the_file(
        self, lab: LocalLab, tmp_path: Path
    ) -> None:
        (tmp_path / "image").mkdir()
        (tmp_path / "image" / "train.sh").write_text('echo loss=1 > "$1"; ls /opt/x >&2\n')
        of = replace(
            batch_job(0, ["sh", "/opt/x/train.sh", "/opt/x/m.log"]), source=Files("/opt/x/m.log")
        )
        _, watch = run(lab, of, [PathMap("/opt/x", tmp_path / "image")])
        assert metrics(watch) == ["loss=1"]
        assert not (tmp_path / "image" / "m.log").exists()

    def test_a_folder_that_exists_here_stays_save_for_the_file(
        self, lab: LocalLab, tmp_path: Path
    ) -> None:
        (tmp_path / "data").write_text("loss=1\n")
        of = job(f"cp {tmp_path}/data {tmp_path}/m.log", Files(f"{tmp_path}/m.log"))
        _, watch = run(lab, of)
        assert metrics(watch) == ["loss=1"]

    @pytest.mark.parametrize("above", ["/results", "/results/run", "here"])
    def test_programs_that_are_told_a_folder_above_the_file_stay_apart(
        self, lab: LocalLab, tmp_path: Path, above: str
    ) -> None:
        (results := tmp_path / "results").mkdir()
        (results / "seed").write_text("7")
        maps = [PathMap("/results", results)]
        file = "/results/run/metrics.log"
        if above == "here":  # a folder of this machine, in which all trials work
            maps, above, file = [], str(results), f"{results}/metrics.log"
        name = Path(file).relative_to(above)
        runner = lab.runner(maps)
        watches = [Watch() for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            futures = [
                pool.submit(
                    runner.run,
                    job(f"cd {above}; mkdir -p run; echo {n} >> {name}", Files(file), n),
                    watch,
                    StopRequest(),
                )
                for n, watch in enumerate(watches)
            ]
            assert {future.result(PATIENCE).state for future in futures} == {JobState.SUCCEEDED}
        assert [metrics(watch) for watch in watches] == [["0"], ["1"]]
        assert [path.name for path in results.iterdir()] == ["seed"]

    def test_a_script_of_the_project_that_writes_beside_itself_has_a_file_of_its_own(
        self, lab: LocalLab, tmp_path: Path
    ) -> None:
        (project := tmp_path / "project").mkdir()
        (project / "train.sh").write_text("echo loss=1 >> metrics.log\n")
        runner = LocalRunner(lab.folder, Host(projects=(project,)))
        for number in range(2):
            of = replace(
                batch_job(number, ["sh", "train.sh"]), source=Files(f"{project}/metrics.log")
            )
            watch = Watch()
            assert runner.run(of, watch, StopRequest()).state is JobState.SUCCEEDED
            assert metrics(watch) == ["loss=1"]
        assert not (project / "metrics.log").exists()

    def test_event_files_are_followed_in_folders_that_come_later(self, lab: LocalLab) -> None:
        folder = "/var/log/katib/tfevent"
        source = Files(folder, EVENT_FILES, EventFiles)
        pieces = [record(event(simple("loss", 0.5))), record(event(simple("loss", 0.25)))]
        (lab.notes / "first").write_bytes(pieces[0])
        (lab.notes / "second").write_bytes(pieces[1])
        os.mkfifo(gate := lab.notes / "gate")
        script = f"""
        mkdir -p {folder}/a/b
        cat {lab.notes}/first > {folder}/a/b/x.tfevents.1
        echo checkpoint > {folder}/model.bin
        read -r _ < {gate}
        cat {lab.notes}/second >> {folder}/a/b/x.tfevents.1
        """
        with ThreadPoolExecutor() as pool:
            watch = Watch()
            future = pool.submit(lab.runner().run, job(script, source), watch, StopRequest())
            watch.wait_for(lambda: len(metrics(watch)) == 1)
            gate.write_text("go\n")
            future.result(PATIENCE)
        assert ['"value": 0.5' in line for line in metrics(watch)] == [True, False]
        assert notes(watch) == ["the event files are a/b/x.tfevents.1"]


SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
pages = ["loss 0.5\\n", "loss 0.25\\n", "loss 0.25\\n"]
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        assert self.path == "/m"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pages.pop(0).encode())
    def log_message(self, *args):
        pass
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening", flush=True)
while pages:
    server.handle_request()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def endpoint(port: int = 8080) -> Endpoint:
    return Endpoint("/m", port, partial(ChangedSamples, ("loss",)))


def samples(watch: Watch) -> list[str]:
    return [line.rpartition(" ")[0] for line in metrics(watch)]


class TestPages:
    def test_a_trial_serves_its_page_on_the_port_it_is_given(self, lab: LocalLab) -> None:
        command = [sys.executable, "-c", SERVER, "$(KATIBFLOW_METRICS_PORT)"]
        _, watch = run(lab, replace(batch_job(0, command), source=endpoint()))
        assert samples(watch) == ["loss 0.5", "loss 0.25"]

    def test_a_port_fixed_in_the_program_is_read_when_it_is_the_trials(self, lab: LocalLab) -> None:
        port = free_port()
        command = [sys.executable, "-c", SERVER, str(port)]
        _, watch = run(lab, replace(batch_job(0, command), source=endpoint(port)))
        assert samples(watch) == ["loss 0.5", "loss 0.25"]

    def test_another_process_on_that_port_is_never_read(self, lab: LocalLab) -> None:
        class Other(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                raise AssertionError("it was asked")

        server = HTTPServer(("127.0.0.1", 0), Other)
        try:
            _, watch = run(lab, job("sleep 0.3", endpoint(server.server_port)))
        finally:
            server.server_close()
        assert metrics(watch) == []
        assert "another process than the trial's listens" in notes(watch)[0]
        assert "$KATIBFLOW_METRICS_PORT" in notes(watch)[0]

    def test_a_page_that_never_comes_is_explained(self, lab: LocalLab) -> None:
        _, watch = run(lab, job("sleep 0.2", endpoint(free_port())))
        (text,) = notes(watch)
        assert "came 0 times; the last failure: no process of the trial listens on" in text

    def test_what_was_read_is_told_again_to_a_later_tool(self, lab: LocalLab) -> None:
        command = [sys.executable, "-c", SERVER, "$(KATIBFLOW_METRICS_PORT)"]
        of = replace(batch_job(0, command), source=endpoint())
        first, second = run(lab, of)[1], run(lab, of)[1]
        assert metrics(first) == metrics(second)
        assert len(metrics(first)) == 2


def side(script: str, files: Files | None = None) -> SideContainer:
    return SideContainer(container(["sh", "-c", script]), files)


class TestSideContainers:
    def test_its_output_is_the_metrics_and_the_files_are_shared(self, lab: LocalLab) -> None:
        reads = f"until [ -s {LOG} ]; do sleep 0.01; done; cat {LOG}; echo $KATIB_TRIAL_NAME"
        of = job(f"echo training; echo loss=1 > {LOG}", side(reads, FILE))
        outcome, watch = run(lab, of)
        assert metrics(watch) == ["loss=1", of.trial.job]
        assert [e.text for e in watch.events if isinstance(e, LogLine)] == ["training"]
        assert set(outcome.logs) == {"job-0", "collector-0"}

    def test_its_failure_is_a_note_and_not_the_trials(self, lab: LocalLab) -> None:
        outcome, watch = run(lab, job("sleep 0.1", side("exit 3")))
        assert outcome.state is JobState.SUCCEEDED
        assert notes(watch) == ["collector-0 failed with exit code 3"]

    def test_it_is_ended_when_the_trial_is_over_and_takes_no_ones_place(
        self, lab: LocalLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("katibflow.runners.local.follower._OBSERVER_GRACE", 0.1)
        of = replace(
            batch_job(0, ["sh", "-c", "echo x"], spec={"completions": 3, "parallelism": 1}),
            source=side("echo up; sleep 100"),
        )
        outcome, watch = run(lab, of)
        assert outcome.state is JobState.SUCCEEDED
        assert not lab.is_alive(0)
        assert metrics(watch)[:1] == ["up"]
        assert not any(isinstance(event, Notice) for event in watch.events)


def test_a_killed_tools_trial_is_read_from_its_first_line_on(lab: LocalLab) -> None:
    os.mkfifo(gate := lab.notes / "gate")
    of = job(f"echo loss=1 > {LOG}; read -r _ < {gate}; echo loss=2 >> {LOG}", FILE)
    tool = multiprocessing.get_context("spawn").Process(
        target=_run_up_to_a_metric, args=(lab.folder, of)
    )
    tool.start()
    tool.join(PATIENCE)
    assert tool.exitcode == KILLED
    with ThreadPoolExecutor() as pool:
        watch = Watch()
        future = pool.submit(lab.runner().run, of, watch, StopRequest())
        watch.wait_for(lambda: metrics(watch) == ["loss=1"])
        gate.write_text("go\n")
        assert future.result(PATIENCE).state is JobState.SUCCEEDED
    assert metrics(watch) == ["loss=1", "loss=2"]


def _run_up_to_a_metric(folder: Path, of: TrialJob) -> None:
    def observe(event: Event) -> None:
        if isinstance(event, MetricLine):
            os._exit(KILLED)

    LocalRunner(folder).run(of, observe, StopRequest())
