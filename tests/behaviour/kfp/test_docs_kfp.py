"""What `docs/kfp.md` shows runs, and prints what is shown; so does the README's command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from katibflow.steps.run_parameters import RUN_PARAMETERS
from katibflow.study.history import Observation, Trial, TrialState
from katibflow.study.job_name import job_name
from katibflow.study.resume import run_name, search_text
from katibflow.validation.reading import read_experiment
from tests.doubles.kfp.lab import Done, katibflow
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kfp.workflows import (
    FULL,
    STUCK,
    aged,
    packed,
    put_workflow,
    recorded,
    sized,
)
from tests.doubles.kubernetes.lab import Lab
from tests.paths import ROOT
from tests.samples import changed

TEXT = (ROOT / "docs" / "kfp.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
_BEFORE, _STANDING, _AFTER = re.split(
    r"^## (?:A run that stands still|Schedules)\n", TEXT, flags=re.M
)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLES = CONSOLE.findall(_BEFORE + _AFTER)
STANDING = CONSOLE.findall(_STANDING)
HOST = "http://localhost:8080"
NAME, ID, HASH = "mnist-20260131-093000", "0a1b2c3d", "4f5e6d7c"
VARIABLE = (
    (r"\d+% of what Argo", "N% of what Argo"),
    (r"\d\d:\d\d:\d\d", "<time>"),
    (r", about [\d.]+ \w+ left", ""),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "<id>"),
    (r"(?<=  )[0-9a-f]{8}(?=  )", "<id>"),
    (r"mnist-\d{8}-\d{6}", "<name>"),
    (r"mnist-[0-9a-f]{12}", "<version>"),
    (r"(?<=--resume )[0-9a-f]{8}", "<hash>"),
    (r"(?<= in )\d+ s(?=,)", "<seconds>"),
    (r"\d+s$", "<age>"),
)


class Place(NamedTuple):
    """Two servers after the first command of the document."""

    server: KfpServer
    lab: Lab
    first: Done


def plays_mnist(
    lab: Lab, ago: timedelta = timedelta(), state: str = "SUCCEEDED"
) -> Callable[[Play], None]:
    """A run with eight trials that ended so long ago."""

    def script(play: Play) -> None:
        if state == "SUCCEEDED":
            play.looked_at()
            play.state("RUNNING")
        put_mnist_trials(lab, play.run_id, ago)
        play.state(state)

    return script


def put_mnist_trials(lab: Lab, run_id: str, ago: timedelta = timedelta()) -> None:
    """Eight trials that ended so long ago: their jobs as the launchers leave them."""
    experiment = read_experiment(ROOT / "examples" / "mnist.yaml")
    run = run_name(run_id)
    runner = lab.runner(
        experiment=experiment.name,
        run=run,
        template=experiment.spec.trial_template,
        search=search_text(experiment),
    )
    for number in range(8):
        value = round(0.42 - 0.03 * number, 2)
        end = datetime.now(UTC) - ago
        runner.record(
            Trial(
                number,
                TrialState.COMPLETE,
                {"lr": f"{(number + 1) / 100}", "momentum": "0.9", "batchSize": "64"},
                {"loss": Observation(value, value, value)},
                start=(end - timedelta(seconds=39)).isoformat(),
                end=end.isoformat(),
                job=job_name(experiment, run, number),
            )
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server, lab = KfpServer(), Lab(tmp_path_factory.mktemp("lab"))
    server.script = plays_mnist(lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(lab.kubeconfig()))
        patch.chdir(ROOT)
        first = katibflow(*words(CONSOLES[0], server), "--poll", "0.2")
    yield Place(server, lab, first)
    server.close()
    lab.close()


def words(block: str, server: KfpServer) -> list[str]:
    """The command of a block, for the server and its run."""
    command = block.split("\n")[0].replace(HOST, server.url)
    for run_id, run in list(server.runs.items())[:1]:
        command = command.replace(NAME, run["display_name"]).replace(ID, run_id[:8])
    program, *rest = shlex.split(command.removeprefix("$ "))
    assert program == "katibflow"
    return rest


def comparable(text: str) -> str:
    lines = []
    for line in text.rstrip("\n").split("\n"):
        for pattern, replacement in VARIABLE:
            line = re.sub(pattern, replacement, line)
        lines.append(line)
    return "\n".join(lines)


def is_shown(printed: str, block: str, server: KfpServer) -> bool:
    """Whether a block shows what was printed; ``...`` stands for any lines."""
    shown = comparable(block.partition("\n")[2])
    pattern = "(?:.*\n)?".join(
        re.escape(part) for part in re.split(r"^\.\.\.\n", shown, flags=re.M)
    )
    there = comparable(printed.replace(server.url, HOST))
    return re.fullmatch(pattern, there, re.DOTALL) is not None


def test_the_first_command_prints_what_is_shown(place: Place) -> None:
    assert place.first.code == 0, place.first.err
    assert is_shown(place.first.out, CONSOLES[0], place.server), place.first.out
    command = f"$ .venv/bin/{CONSOLES[0].splitlines()[0].removeprefix('$ ')}\n"
    assert command in README


@pytest.mark.parametrize("block", CONSOLES[2:], ids=lambda block: block.split("\n")[0][:50])
def test_a_later_command_prints_what_is_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch, block: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(place.lab.kubeconfig()))
    monkeypatch.chdir(ROOT)
    done = katibflow(*words(block, place.server))
    assert done.code == 0, done.err
    assert is_shown(done.out, block, place.server), done.out


def test_a_run_that_stands_still_is_shown_stopped_and_gone_on_from(
    kfp_server: KfpServer, cluster: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("katibflow.client.stopping.WAIT", 0.0)
    assert katibflow(*words(CONSOLES[1], kfp_server)).code == 0
    (run,) = kfp_server.runs.values()
    run["created_at"] = "2020-01-01T00:00:00Z"
    run["runtime_config"]["parameters"] = {}
    plays_mnist(cluster, timedelta(hours=1), "RUNNING")(Play(kfp_server, run))
    body = packed(aged(recorded(STUCK), 360))
    put_workflow(cluster, run["run_id"], sized(body, FULL))
    for block in STANDING:
        block = block.replace(HASH, run_name(run["run_id"]))
        done = katibflow(*words(block, kfp_server))
        assert done.code == 0, done.err
        assert is_shown(done.out, block, kfp_server), done.out


def test_the_command_for_scripts_prints_json_alone(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = katibflow(*words(CONSOLES[1], kfp_server))
    assert done.code == 0, done.err
    assert is_shown(done.out, CONSOLES[1], kfp_server), done.out


def test_the_notebook_s_code_starts_a_run_that_the_commands_know(
    kfp_server: KfpServer, cluster: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block for language, block in BLOCKS if language == "python")
    kfp_server.script = plays_mnist(cluster)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the SDK's wait of 5 s
    with pytest.warns(FutureWarning, match="only works with Kubeflow Pipeline v2"):
        exec(compile(code.replace(HOST, kfp_server.url), "docs/kfp.md", "exec"), {})
    (run,) = kfp_server.runs.values()
    assert run["runtime_config"]["parameters"] == {"maxTrialCount": "20", "goal": "0.1"}
    assert katibflow("best", run["run_id"], "--host", kfp_server.url).out.startswith("lr=0.08\n")


@pytest.mark.parametrize(
    ("page", "parameters"),
    [
        ("trackers", {"track": "mlflow:http://mlflow.ml:5000"}),
        ("search", {"warmStart": "sample"}),
    ],
)
def test_a_submission_that_another_page_shows_gives_its_run_the_parameter(
    kfp_server: KfpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    parameters: dict[str, str],
) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"`(katibflow submit [^`]+)`", text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment.yaml").write_text(
        yaml.safe_dump(changed({"spec.algorithm.algorithmName": "tpe"})), encoding="utf-8"
    )
    _, *rest = shlex.split(shown)
    done = katibflow(*rest, "--host", kfp_server.url, "--no-wait")
    assert done.code == 0, done.err
    (run,) = kfp_server.runs.values()
    assert run["runtime_config"]["parameters"] == parameters


def test_every_option_that_is_named_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    named = set(re.findall(r"[` ](--[a-z][a-z-]+)", TEXT))
    assert len(named) > 15
    helped = "".join(katibflow(each, "--help").out for each in ("submit", "list", "show", "best"))
    assert [option for option in sorted(named) if option not in helped] == []


def test_the_table_is_that_of_the_code() -> None:
    columns = ["parameter", "`katibflow submit`", "Python", "what", "left out"]
    rows = [columns, ["---"] * len(columns)]
    rows += [
        [f"`{each.name}`", f"`{each.option}`", f"`{each.keyword}`", each.meaning, each.left_out]
        for each in RUN_PARAMETERS
    ]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    section = re.split(r"^## ", TEXT, flags=re.M)[2]
    assert section.startswith("What a run may change\n")
    shown = "".join(line for line in section.splitlines(keepends=True) if line.startswith("|"))
    assert shown == table, f"docs/kfp.md is to have this table:\n{table}"


def test_links_lead_to_files() -> None:
    assert "(docs/kfp.md)" in README
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
