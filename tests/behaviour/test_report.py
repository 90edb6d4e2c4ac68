from __future__ import annotations

import math
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import optuna
import pytest

from katibflow.experiment.types import Experiment
from katibflow.report.page import render_report, write_report
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.optuna_study import study_of
from katibflow.study.reasons import ExperimentReason

pytestmark = pytest.mark.filterwarnings("error")

CHROMIUM = shutil.which("chromium")
DONE = Ending(True, "MaxTrialsReached", "12 of 12 trials are over.")
EVIL = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">"\'&</table>'
LR = {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.05"}}
MOMENTUM = {"name": "momentum", "feasibleSpace": {"list": ["0.5", "0.6", "0.7"]}}
UNITS = {"name": "units", "parameterType": "int", "feasibleSpace": {"min": "8", "max": "64"}}
OPTIMIZER = {
    "name": "optimizer",
    "parameterType": "categorical",
    "feasibleSpace": {"list": ["sgd", "adam", "<b>x</b>"]},
}


def experiment(
    parameters: list[dict[str, Any]] | None = None,
    *,
    name: str = "mnist-pytorch",
    objective: Mapping[str, Any] | None = None,
) -> Experiment:
    return Experiment.model_validate(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": name},
            "spec": {
                "objective": {
                    "type": "minimize",
                    "goal": 0.001,
                    "objectiveMetricName": "loss",
                    "additionalMetricNames": ["accuracy"],
                }
                | dict(objective or {}),
                "algorithm": {"algorithmName": "random"},
                "maxTrialCount": 12,
                "parameters": [LR, MOMENTUM] if parameters is None else parameters,
                "trialTemplate": {},
            },
        }
    )


def seen(value: float) -> Observation:
    return Observation(latest=value, min=value, max=value)


def trial(
    number: int,
    loss: float | None = None,
    state: TrialState = TrialState.COMPLETE,
    *,
    assignments: Mapping[str, str] | None = None,
    series: tuple[float, ...] = (),
    **more: Any,
) -> Trial:
    default = {"lr": str((number % 5 + 1) / 100), "momentum": ("0.5", "0.6", "0.7")[number % 3]}
    running = state is TrialState.RUNNING
    return Trial(
        number=number,
        state=state,
        assignments=default if assignments is None else assignments,
        observations={} if loss is None else {"loss": seen(loss), "accuracy": seen(1 - loss)},
        intermediate=tuple(Point(step, value) for step, value in enumerate(series)),
        start="2026-01-01T00:00:00+00:00",
        end=None if running else f"2026-01-01T00:{number % 60:02}:30+00:00",
        job=f"mnist-{number}",
        **more,
    )


def realistic(count: int = 12) -> History:
    chance = random.Random(7)
    trials = []
    for number in range(count):
        loss = 0.1 + chance.random() * 0.4
        series = tuple(loss + 0.8 / (step + 1) for step in range(8))
        if number % 12 == 4:
            trials.append(
                trial(number, None, TrialState.FAIL, reason="TrialFailed", message="exit code 137")
            )
        elif number % 12 == 7:
            trials.append(
                trial(number, loss + 0.4, TrialState.PRUNED, series=series[:3], reason="Pruned")
            )
        elif number % 12 == 11:
            trials.append(trial(number, None, TrialState.RUNNING, series=series[:2]))
        else:
            trials.append(trial(number, loss, series=series, reason="TrialSucceeded"))
    return History(experiment(), run="run-1", seed=1, trials=tuple(trials))


class Page(HTMLParser):
    """What a page refers to and holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def command(folder: Path) -> list[str]:
    """The browser with flags that it always needs; the folder is for its files."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    return [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={folder / 'profile'}",
    ]


@contextmanager
def browser(address: str, folder: Path) -> Iterator[None]:
    """A browser that shows a page while the block runs."""
    flags = ("--remote-debugging-port=0", address)  # without it, it ends after the first load
    process = subprocess.Popen(
        [*command(folder), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def browse(html: str, folder: Path, *flags: str) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the browser's console said."""
    write_report(folder / "report.html", html)
    return dump((folder / "report.html").as_uri(), folder, *flags)


def dump(address: str, folder: Path, *flags: str) -> tuple[str, str]:
    """As `browse`, of the page at an address; the folder is for the browser's files."""
    done = subprocess.run(
        [
            *command(folder),
            *("--virtual-time-budget=15000", "--enable-logging=stderr"),
            *("--window-size=1280,2400", *flags, "--dump-dom", address),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


def plot_titles(dom: str) -> list[str]:
    return re.findall(r'class="gtitle"[^>]*>([^<]*)<', dom)


def table_rows(dom: str) -> list[str]:
    return re.findall(r'<tr id="trial-\d+".*?</tr>', dom, re.DOTALL)


def test_browser_draws_all_plots_and_the_table(tmp_path: Path) -> None:
    history = realistic()
    logs = {0: {"master-0": "logs/0/master-0.log", "worker-0": "logs/0/worker-0.log"}}
    dom, console = browse(render_report(history, DONE, logs), tmp_path)
    assert console == ""
    assert plot_titles(dom) == [
        "Optimization History Plot",
        "Hyperparameter Importances",
        "Parallel Coordinate Plot",
        "Slice Plot",
        "Intermediate Values Plot",
    ]
    for key in ("history", "importance", "parallel", "slice", "intermediate"):
        assert re.search(rf'id="plot-{key}".*?<svg class="main-svg"', dom, re.DOTALL), key
    rows = table_rows(dom)
    assert len(rows) == 12
    best = [row for row in rows if 'class="best"' in row]
    expected = min(
        (t for t in history.trials if t.observations), key=lambda t: t.observations["loss"].min
    )
    assert len(best) == 1
    assert f'id="trial-{expected.number}"' in best[0]
    assert 'href="logs/0/master-0.log"' in rows[0]
    assert 'href="logs/0/worker-0.log"' in rows[0]
    importance = dom[dom.index('id="plot-importance"') : dom.index('id="plot-parallel"')]
    assert "lr" in importance
    assert "momentum" in importance


def test_browser_runs_nothing_that_comes_from_the_trials(tmp_path: Path) -> None:
    parameters = [LR | {"name": EVIL}, OPTIMIZER]
    trials = tuple(
        trial(
            number,
            number / 10,
            assignments={EVIL: f"0.0{number + 1}", "optimizer": ("sgd", "<b>x</b>")[number % 2]},
            series=(1.0, 0.5),
            reason=EVIL,
            message=EVIL,
        )
        for number in range(8)
    )
    watched = experiment(parameters, name=EVIL, objective={"objectiveMetricName": EVIL})
    trials = tuple(
        Trial(**{**vars(each), "observations": {EVIL: each.observations["loss"]}})
        for each in trials
    )
    html = render_report(
        History(watched, run=EVIL, seed=1, trials=trials),
        Ending(False, EVIL, EVIL),
        {0: {EVIL: EVIL, "bad": "javascript:alert(1)", "other": "//example.org/x"}},
    )
    dom, console = browse(html, tmp_path)
    assert console == ""
    page = Page(dom)
    assert page.having("img") == []
    assert len(page.having("script")) == 4
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert len(table_rows(dom)) == 8
    assert len(plot_titles(dom)) == 5
    places = {link["href"] for link in page.having("a") if link.get("href")}
    assert {place for place in places if not str(place).startswith("#")} == {EVIL}


def test_browser_opens_a_report_without_finished_trials(tmp_path: Path) -> None:
    running = History(experiment(), "r", 1, (trial(0, state=TrialState.RUNNING),))
    dom, console = browse(render_report(running, Ending(None, "Running", "1 runs."), {}), tmp_path)
    assert console == ""
    assert len(re.findall('id="no-plot-', dom)) == 5
    assert "main-svg" not in dom
    assert len(table_rows(dom)) == 1
    assert "No trial has a finite objective value" in dom


@pytest.mark.slow
def test_browser_sorts_and_filters_all_of_very_many_trials_and_turns_their_pages(
    tmp_path: Path,
) -> None:
    # Without values there are no plots, which take a browser the longest.
    states = (TrialState.FAIL, TrialState.PRUNED)
    trials = tuple(
        trial(number, None, states[number % 2], assignments={"lr": f"{number / 1e4}"})
        for number in range(1200)
    )
    write_report(
        tmp_path / "report.html",
        render_report(History(experiment([LR]), "r", 1, trials), DONE, {}),
    )
    address = (tmp_path / "report.html").as_uri()
    dom, console = dump(f"{address}#sort=-lr&state=pruned", tmp_path)
    assert console == ""
    numbers = [int(found) for found in re.findall(r'<tr id="trial-(\d+)"', dom)]
    assert numbers == list(range(1199, 699, -2))
    assert ">600 of 1200 trials<" in dom
    assert ">1 to 250 of 600<" in dom
    assert 'id="part"' not in dom
    dom, _ = dump(f"{address}#trial-777", tmp_path)
    assert ">751 to 1000 of 1200<" in dom
    assert len(table_rows(dom)) == 250


@pytest.mark.long
def test_browser_draws_500_trials_in_dark(tmp_path: Path) -> None:
    html = render_report(realistic(500), DONE, {})
    dom, console = browse(html, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert console == ""
    assert len(plot_titles(dom)) == 5
    assert len(table_rows(dom)) == 500


def test_browser_loads_a_running_page_again_and_keeps_what_the_reader_chose(
    tmp_path: Path,
) -> None:
    """The choice is in the address, which a browser keeps when it loads a page again."""
    states = (TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL)
    rates = ("0.05", "0.01", "0.0123456789", "0.03", "0.02", "0.04")
    trials = (
        trial(number, None, states[number % 3], assignments={"lr": rate})
        for number, rate in enumerate(rates)
    )
    history = History(experiment([LR]), "r", 1, tuple(trials))
    running = Ending(None, ExperimentReason.NOT_FINISHED, "1 runs")
    pages = {
        "/running": render_report(history, running, {}, refresh=1),
        "/over": render_report(history, DONE, {}),
    }
    asked: list[str] = []
    again = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if asked.count("/running") > 1:
                again.set()
            body = pages[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with browser(f"{address}/running", tmp_path / "first"):
            assert again.wait(60)
        dom, console = dump(f"{address}/over#sort=-lr&state=fail", tmp_path)
        server.shutdown()
    assert console == ""
    assert asked.count("/over") == 1
    assert "data-refresh" not in dom
    shown = [row for row in table_rows(dom) if " hidden" not in row.split(">")[0]]
    assert [re.findall(r'id="trial-(\d)"', row) for row in shown] == [["0"], ["5"], ["3"], ["2"]]
    assert "4 of 6 trials" in dom


def test_page_asks_the_network_for_nothing() -> None:
    html = render_report(realistic(), DONE, {0: {"m": "logs/a.log", "web": "https://x.org/l"}})
    assert html.count("plotly.js v") == 1
    page = Page(html)
    places = [
        (tag, attrs[name])
        for tag, attrs in page.tags
        for name in ("src", "href", "action", "srcset", "data", "poster")
        if name in attrs
    ]
    links = [place for tag, place in places if tag == "a" and not str(place).startswith("#")]
    assert links == ["logs/a.log", "https://x.org/l"]
    assert [pair for pair in places if pair[0] != "a"] == [("link", "data:,")]
    assert "url(" not in html[: html.index("</style>")]
    assert "default-src 'none'" in (page.having("meta")[1]["content"] or "")


@pytest.mark.parametrize(
    "place",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org/x",
        "/etc/passwd",
        "\\\\host\\x",
        "http:relative",
        "http://[bad",
        "",
    ],
)
def test_unsafe_log_places_are_no_links(place: str) -> None:
    html = render_report(History(experiment(), "r", 1, (trial(0, 0.1),)), DONE, {0: {"m": place}})
    assert not [a for a in Page(html).having("a") if not (a["href"] or "").startswith("#")]
    assert "<span>m</span>" in html


def test_nan_and_infinite_objectives_are_shown_and_not_best() -> None:
    values = (math.nan, math.inf, -math.inf, 0.3, 0.2)
    trials = tuple(trial(n, value, series=(value, 1.0)) for n, value in enumerate(values))
    history = History(experiment(), "r", 1, trials)
    rows = table_rows(render_report(history, DONE, {}))
    assert ["<b>NaN</b>" in rows[0], "<b>∞</b>" in rows[1], "<b>-∞</b>" in rows[2]] == [True] * 3
    assert ['class="best"' in row for row in rows] == [False] * 4 + [True]
    study = study_of(history)
    assert [t.state.name for t in study.trials] == ["FAIL"] * 3 + ["COMPLETE"] * 2
    assert study.trials[0].intermediate_values == {1: 1.0}
    assert study.best_trial.number == 4


@pytest.mark.parametrize(
    ("queued", "start", "text"),
    [
        (None, "00:10:00", "30.0 s"),
        ("00:10:00", "00:10:01", "29.0 s"),
        ("00:10:00", "00:10:24.5", "5.5 s, after 24.5 s in the queue"),
        ("00:08:18", "00:10:24", "6.0 s, after 2 m 06 s in the queue"),
        ("00:10:00", None, '<span class="none">&ndash;</span>'),
    ],
)
def test_a_duration_is_the_jobs_and_a_long_wait_is_shown_too(
    queued: str | None, start: str | None, text: str
) -> None:
    def moment(time: str | None) -> str | None:
        return time and f"2026-01-01T{time}+00:00"

    ended = replace(trial(10, 0.5), queued=moment(queued), start=moment(start))
    html = render_report(History(experiment(), "r", 1, (ended,)), DONE, {})
    assert re.search(rf'<td class="num"(?: data-v="[0-9.]+")?>{re.escape(text)}</td><td>', html)


def test_zero_trials() -> None:
    html = render_report(History(experiment(), "r", 1), Ending(None, "Created", ""), {})
    assert "No trial has been started." in html
    assert "plotly.js v" not in html


def test_plots_that_cannot_be_made_say_why() -> None:
    one = History(experiment(), "r", 1, (trial(0, 0.1),))
    html = render_report(one, DONE, {})
    assert "at least 8 trials with finite objectives; there is one" in html
    assert "reported intermediate values of loss" in html
    # Of seven trials the best quarter is one.
    few = tuple(trial(number, number / 10) for number in range(7))
    assert "there are 7." in render_report(History(experiment(), "r", 1, few), DONE, {})
    same = {"lr": "0.01", "momentum": "0.5"}
    alike = tuple(trial(number, number / 10, assignments=same) for number in range(8))
    assert "two different values" in render_report(History(experiment(), "r", 1, alike), DONE, {})
    flat = tuple(trial(number, 0.1) for number in range(8))
    assert "different objective" in render_report(History(experiment(), "r", 1, flat), DONE, {})


def test_ending_best_and_counts_are_shown() -> None:
    html = render_report(realistic(), Ending(False, "MaxFailed", "3 trials failed."), {})
    assert '<span class="badge bad">Failed</span>' in html
    assert "<b>MaxFailed</b>" in html
    assert "3 trials failed." in html
    assert "<dt>momentum</dt><dd>" in html
    assert '<b>9</b><span class="state complete">' in html
    assert "exit code 137" in html


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, "new \ud800 ∞")
    assert path.read_text("utf-8") == "new ? ∞"
    assert list(tmp_path.iterdir()) == [path]


def test_study_has_typed_values_and_all_states() -> None:
    log = {"min": "0.1", "max": "1", "distribution": "logUniform"}
    decay = {"name": "decay", "parameterType": "double", "feasibleSpace": log}
    batch = {"name": "batch", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "32"]}}
    values = {
        "lr": "0.050000000000000003",
        "momentum": "0.6",
        "units": "64",
        "optimizer": "adam",
        "decay": "1.0000000000000002",
        "batch": "32",
    }
    trials = tuple(
        trial(n, 0.5, state, assignments=values, reason="R") for n, state in enumerate(TrialState)
    )
    history = History(
        experiment([LR, MOMENTUM, UNITS, OPTIMIZER, decay, batch], objective={"type": "maximize"}),
        run="r",
        seed=3,
        trials=trials,
    )
    study = study_of(history)
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert [t.state.name for t in study.trials] == ["RUNNING", "COMPLETE", "PRUNED", "FAIL", "FAIL"]
    complete = study.trials[1]
    assert complete.params == {
        "lr": 0.05,
        "momentum": 0.6,
        "units": 64,
        "optimizer": "adam",
        "decay": 1.0000000000000002,
        "batch": 32,
    }
    assert complete.distributions["decay"] == optuna.distributions.FloatDistribution(
        0.1, 1.0000000000000002, log=True
    )
    assert complete.distributions["batch"] == optuna.distributions.CategoricalDistribution([16, 32])
    assert complete.value == 0.5
    assert complete.user_attrs["job"] == "mnist-1"
    assert complete.user_attrs["reason"] == "R"
    assert complete.user_attrs["observations"]["loss"] == {"latest": 0.5, "min": 0.5, "max": 0.5}
    assert complete.duration is not None
    assert complete.duration.total_seconds() == 90


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (LR, "0.0500001"),
        (LR, "7"),
        (LR, "nan"),
        (LR, "no number"),
        (LR | {"feasibleSpace": {"min": "0.1", "max": "1", "distribution": "logUniform"}}, "-1"),
        (UNITS | {"name": "lr"}, "65"),
        (UNITS | {"name": "lr"}, "16.0"),
        (UNITS | {"name": "lr"}, "16.5"),
        (UNITS | {"name": "lr"}, str(2**53 + 1)),
        (UNITS | {"name": "lr"}, "9" * 400),
        (MOMENTUM | {"name": "lr"}, "0.65"),
        (MOMENTUM | {"name": "lr"}, "none"),
        (OPTIMIZER | {"name": "lr"}, "unknown"),
    ],
)
def test_study_takes_values_beyond_the_space(parameter: dict[str, Any], text: str) -> None:
    trials = (trial(0, 0.1, assignments={"lr": text}), trial(3, 0.2, assignments={}, attributes={}))
    study = study_of(History(experiment([parameter]), "r", 1, trials))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "WAITING", "WAITING", "COMPLETE"]


def test_optuna_stays_as_loud_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render_report(realistic(), DONE, {})
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
