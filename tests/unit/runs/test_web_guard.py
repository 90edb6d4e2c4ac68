"""Tests which requests the dashboard answers."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.runs.web_guard import guarded


def status(host: str = "127.0.0.1", *, writable: bool = False, **request: str) -> str:
    seen: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b""]

    environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": "127.0.0.1:8080"} | request
    list(guarded(app, host, writable=writable)(environ, lambda state, _: seen.append(state)))
    return seen[0][:3]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "200"),
        ({"HTTP_HOST": "localhost:8080"}, "200"),
        ({"HTTP_HOST": "[::1]:8080"}, "200"),
        ({"HTTP_ORIGIN": "http://127.0.0.1:8080"}, "200"),
        ({"HTTP_HOST": "evil.example:8080"}, "403"),
        ({"HTTP_HOST": "127.0.0.1.evil.example"}, "403"),
        ({"HTTP_HOST": ""}, "403"),
        ({"HTTP_HOST": "[::1"}, "403"),
        ({"HTTP_ORIGIN": "http://evil.example"}, "403"),
        ({"HTTP_ORIGIN": "http://127.0.0.1:9999"}, "403"),
        ({"HTTP_ORIGIN": "null"}, "403"),
    ],
)
def test_only_its_own_pages_are_answered(request_: dict[str, str], expected: str) -> None:
    assert status(**request_) == expected
    assert status(writable=True, REQUEST_METHOD="DELETE", **request_) == expected


def test_nothing_is_changed_unless_it_was_asked_for() -> None:
    for method in ("DELETE", "POST", "PUT", "PATCH"):
        assert status(REQUEST_METHOD=method) == "403"
        assert status(writable=True, REQUEST_METHOD=method) == "200"


def test_a_server_for_all_addresses_has_any_name_but_no_other_sites_pages() -> None:
    assert status("0.0.0.0", HTTP_HOST="box.local:8080") == "200"
    assert status("box.local", HTTP_HOST="BOX.local:8080") == "200"
    foreign = {"HTTP_HOST": "box.local:8080", "HTTP_ORIGIN": "http://evil.example"}
    assert status("0.0.0.0", **foreign) == "403"
