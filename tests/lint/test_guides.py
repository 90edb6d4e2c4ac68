"""ARCHITECTURE.md and CONTRIBUTING.md: what they name is there."""

from __future__ import annotations

import configparser
import re

import pytest

from tests.paths import ROOT

GUIDES = {name: (ROOT / name).read_text("utf-8") for name in ("ARCHITECTURE.md", "CONTRIBUTING.md")}
PACKAGE = ROOT / "katibflow"


def layers() -> list[str]:
    """Returns the rooms of the import contract, from the top down."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    return re.findall(r"\w+", config["importlinter:contract:layers"]["layers"])


def test_the_floor_plan_has_every_room_in_the_order_of_the_layers() -> None:
    table = GUIDES["ARCHITECTURE.md"].partition("## The rooms")[2].partition("\n## ")[0]
    named = [
        name.removesuffix(".py").rstrip("/")
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w./]+)`", row)
    ]
    wanted = layers()
    assert sorted(named) == sorted(wanted)
    assert [name for name in named if (PACKAGE / name).is_dir()] == [
        name for name in wanted if (PACKAGE / name).is_dir()
    ]


def exists(path: str) -> bool:
    places = [ROOT, PACKAGE, *PACKAGE.iterdir(), PACKAGE / "suggestion" / "algorithms"]
    return any(any(place.glob(path.rstrip("/"))) for place in places if place.is_dir())


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_and_folder_that_is_named_exists(guide: str) -> None:
    named = re.findall(r"`([\w*./-]+(?:/|\.py|\.cfg|\.md))`", GUIDES[guide])
    named += [place for place in re.findall(r"\]\(([^)]+)\)", GUIDES[guide]) if ":" not in place]
    assert len(named) > 5
    assert [path for path in named if not exists(path)] == []


def test_the_commands_to_begin_with_are_targets_of_make() -> None:
    commands = re.findall(r"^\$ make ([\w-]+)$", GUIDES["CONTRIBUTING.md"], re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert commands
    assert [name for name in commands if not re.search(f"^{name}:", makefile, re.MULTILINE)] == []
