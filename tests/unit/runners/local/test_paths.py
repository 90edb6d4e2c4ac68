"""Tests the replacement of container paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import InputError
from katibflow.runners.local.paths import PathMap, map_paths, parse_map

MAPS = (PathMap("/opt/x", Path("/host/place")), PathMap("/opt/x/data", Path("/elsewhere")))


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("/opt/x", "/host/place"),
        ("/opt/x/a.py", "/host/place/a.py"),
        ("/opt/x/", "/host/place/"),
        ("/opt/x/data", "/elsewhere"),
        ("/opt/x/data/a", "/elsewhere/a"),
        ("/opt/x/database", "/host/place/database"),
        ("--data=/opt/x/d", "--data=/host/place/d"),
        ("python /opt/x/a.py --data '/opt/x/d'", "python /host/place/a.py --data '/host/place/d'"),
        ("cd /opt/x; ls", "cd /host/place; ls"),
        ("(cd /opt/x)", "(cd /host/place)"),
        ("/bin:/opt/x:/usr", "/bin:/host/place:/usr"),
        ("file:///opt/x/d", "file:///host/place/d"),
        ("/opt/x-other", "/opt/x-other"),
        ("/opt/x_other/a", "/opt/x_other/a"),
        ("/opt/x.bak", "/opt/x.bak"),
        ("/opt/xy", "/opt/xy"),
        ("/data/opt/x", "/data/opt/x"),
        ("$HOME/opt/x", "$HOME/opt/x"),
        ("${HOME}/opt/x", "${HOME}/opt/x"),
        ("$(pwd)/opt/x", "$(pwd)/opt/x"),
        ("/opt/x$SUFFIX", "/opt/x$SUFFIX"),
        ("./opt/x", "./opt/x"),
        ("~/opt/x", "~/opt/x"),
        ("lr=0.1", "lr=0.1"),
    ],
)
def test_a_container_path_is_replaced_as_a_whole(text: str, mapped: str) -> None:
    assert map_paths(text, MAPS) == mapped


def test_what_a_map_gives_is_not_mapped_again() -> None:
    maps = (PathMap("/a", Path("/a/b")), PathMap("/a/b", Path("/c")))
    assert map_paths("/a/f /a/b/f", maps) == "/a/b/f /c/f"


PARTS = st.text("ab._-", min_size=1, max_size=3)


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, max_size=3))
def test_every_path_below_the_prefix_and_no_other_is_mapped(
    prefix: list[str], rest: list[str]
) -> None:
    container = "/" + "/".join(prefix)
    maps = (PathMap(container, Path("/H")),)
    below = "".join(f"/{part}" for part in rest)
    assert map_paths(f"--flag={container}{below}", maps) == f"--flag=/H{below}"
    for other in (f"{container}a{below}", f"{container}-{below}", f"/z{container}{below}"):
        assert map_paths(other, maps) == other


def test_a_map_is_read_from_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_map("/opt/x/=image") == PathMap("/opt/x", tmp_path / "image")
    (tmp_path / "a=b").touch()
    assert parse_map("/opt/x=a=b").host == tmp_path / "a=b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/opt/x", 'found "/opt/x"; allowed: CONTAINER=HOST'),
        ("/opt/x=", "allowed: CONTAINER=HOST"),
        ("opt/x=/tmp", "an absolute path in the container"),
        ("/=/tmp", "below /"),
        ("/opt/../x=/tmp", "without .."),
        ("/opt/x=/no/such/place", "a folder or file that exists"),
    ],
)
def test_a_wrong_map_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(InputError, match="--map") as caught:
        parse_map(text)
    assert said in str(caught.value)
