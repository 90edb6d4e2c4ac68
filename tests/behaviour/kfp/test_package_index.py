"""``--package``: a release that the index lacks is refused before anything is uploaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.http_double import Handler, HttpDouble
from tests.doubles.kfp.lab import experiment_file, katibflow
from tests.doubles.kfp.server import KfpServer


class Index(HttpDouble):
    """An index of Python packages with one package."""

    def __init__(self) -> None:
        super().__init__(_Page)
        self.versions = ["0.1.0"]
        self.up()


class _Page(Handler):
    double: Index

    def serve(self) -> None:
        is_known = self.path == "/simple/katibflow/"
        data = json.dumps({"name": "katibflow", "versions": self.double.versions}).encode()
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    made = Index()
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@127.0.0.1:{made.port}/simple")
    yield made
    made.down()


@pytest.mark.parametrize(
    ("package", "lacks"),
    [("katibflow==9.9", "no version 9.9 of katibflow"), ("katib-flow==0.1.0", "no katib-flow")],
)
def test_a_release_that_is_not_there_is_refused(
    kfp_server: KfpServer, index: Index, tmp_path: Path, package: str, lacks: str
) -> None:
    file = experiment_file(tmp_path)
    done = katibflow("submit", str(file), "--host", kfp_server.url, "--package", package)
    assert done.code == 2
    where = f"http://127.0.0.1:{index.port}/simple"
    assert f'--package: found "{package}", and {where} has {lacks}; allowed: ' in done.err
    assert kfp_server.uploads == {}
    assert kfp_server.requests == []


@pytest.mark.parametrize("package", ["katibflow==0.1.0", "katibflow", "katibflow>=0.1"])
def test_a_release_that_is_there_is_taken(
    kfp_server: KfpServer, index: Index, tmp_path: Path, package: str
) -> None:
    fixed = ("--host", kfp_server.url, "--no-wait")
    done = katibflow("submit", str(experiment_file(tmp_path)), *fixed, "--package", package)
    assert done.code == 0, done.err
    assert len(kfp_server.uploads) == 1


def test_what_cannot_be_known_here_is_left_to_the_steps(
    kfp_server: KfpServer, index: Index, tmp_path: Path
) -> None:
    index.down()
    fixed = ("--host", kfp_server.url, "--no-wait", "--package", "katibflow==9.9")
    assert katibflow("submit", str(experiment_file(tmp_path)), *fixed).code == 0
