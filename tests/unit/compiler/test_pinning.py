"""What `make pins` makes of uv's lock file, and of a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.compiler.pinning import packages_of_lock, with_commits

X86, ARM, MUSL, WINDOWS, PURE, OLD = ("a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64, "f" * 64)


def wheel(name: str, digest: str) -> dict[str, str]:
    return {"url": f"https://index.example/files/{name}.whl", "hash": f"sha256:{digest}"}


def package(name: str, *wheels: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "wheels": list(wheels), **more}


BUILT = package(
    "built",
    wheel("built-1.0-cp311-cp311-manylinux_2_28_x86_64", X86),
    wheel("built-1.0-cp39-abi3-manylinux2014_aarch64", ARM),
    wheel("built-1.0-cp311-cp311-musllinux_1_2_x86_64", MUSL),
    wheel("built-1.0-cp311-cp311-win_amd64", WINDOWS),
    wheel("built-1.0-cp310-cp310-manylinux_2_28_x86_64", OLD),
    **{"optional-dependencies": {"fast": [{"name": "pure"}]}},
)
PURE_ONE = package("pure", wheel("pure-1.0-py3-none-any", PURE))


def test_only_files_for_the_steps_python_and_machines_may_be_installed() -> None:
    root = package("root", wheel("root-1.0-py3-none-any", PURE))
    root["dependencies"] = [
        {"name": "built", "extra": ["fast"]},
        {"name": "absent", "marker": "implementation_name == 'pypy'"},
    ]
    lock = {"package": [{"name": "steps", "version": "0"}, BUILT, PURE_ONE, root]}
    assert packages_of_lock(lock, "steps") == {
        "built": ["1.0", [], [X86, ARM]],
        "pure": ["1.0", [], [PURE]],
        "root": ["1.0", ["built", "pure"], [PURE]],
    }


def test_what_one_machine_cannot_install_is_refused() -> None:
    lacking = package("lacking", wheel("lacking-1.0-cp311-cp311-manylinux_2_28_x86_64", X86))
    with pytest.raises(ValueError, match=r"lacking 1\.0: found no wheel for aarch64"):
        packages_of_lock({"package": [lacking]}, "steps")
    root = {**PURE_ONE, "dependencies": [{"name": "pure", "marker": "platform_machine == 'arm'"}]}
    assert packages_of_lock({"package": [root]}, "steps")["pure"][1] == []
    root["dependencies"][0]["marker"] = "platform_machine == 'aarch64'"
    with pytest.raises(ValueError, match="required on one machine only"):
        packages_of_lock({"package": [root]}, "steps")


def test_an_action_follows_its_tag_or_branch_by_commit() -> None:
    asked = []

    def commit_of(repository: str, name: str) -> str:
        asked.append((repository, name))
        return "1" * 40

    text = "- uses: a/b@v5\n- uses: c/d@" + "0" * 40 + " # release/v1\n- run: make test\n"
    made = with_commits(text, commit_of)
    assert made == (
        f"- uses: a/b@{'1' * 40} # v5\n- uses: c/d@{'1' * 40} # release/v1\n- run: make test\n"
    )
    assert asked == [("a/b", "v5"), ("c/d", "release/v1")]
    assert with_commits(made, commit_of) == made
