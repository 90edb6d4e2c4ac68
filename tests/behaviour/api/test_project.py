"""A tuned function uses its project on this machine: modules, files, packages of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from katibflow.experiment.bootstrap import BOOTSTRAP

_SCRIPT = """
import sys
from katibflow import search, tune

def train(x):
    import os

    import helper

    with open("data/numbers.txt") as file:
        value = helper.FACTOR * float(file.read())
    with open("out.txt", "w") as file:
        file.write("its own")
    with open("log.txt") as file:
        begun = file.read()
    with open("log.txt", "a") as file:
        file.write("its own")
    os.listdir("data")
    with open("data/deep/numbers.txt", "r+") as file:
        file.write("9")
    os.rename("data/a.txt", "data/b.txt")
    os.remove("data/numbers.txt")
    os.makedirs("new", exist_ok=True)
    assert open("new/here.txt").read() == "here"
    print(value)
    return value

def wrong(x):
    print("trained")
    return {"loss": x} if x > -1 else None

space = {"x": search.double(min=0, max=1)}
if __name__ == "__main__":
    again = sys.argv[1:] == ["again"]
    result = tune(train, space, max_trial_count=1).run(progress=False)
    print(result.best.value)
    if not again:
        result = tune(wrong, space, max_trial_count=1).run(progress=False)
        try:
            result.best
        except Exception as error:
            print(error)
"""


@pytest.mark.slow
def test_a_function_imports_and_reads_what_is_in_its_project(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    (tmp_path / "data").mkdir()
    (tmp_path / "data/numbers.txt").write_text("3")
    for name in ("data/deep/numbers.txt", "data/a.txt", "log.txt", "new/here.txt", "out.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("here" if name == "new/here.txt" else "the project's ")
    scripts.mkdir()
    (scripts / "main.py").write_text(_SCRIPT)
    (scripts / "helper.py").write_text("FACTOR = 2\n")

    def start(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "scripts/main.py", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    done = start()
    assert done.returncode == 0, done.stderr
    value, *why = done.stdout.splitlines()
    assert value == "6.0"
    said = "\n".join(why)
    assert "1 trial (0): the function returned ['loss']; allowed: a value of objective" in said
    for name in ("data/deep/numbers.txt", "data/a.txt", "log.txt", "out.txt"):
        assert (tmp_path / name).read_text() == "the project's ", name
    assert (tmp_path / "data/numbers.txt").read_text() == "3"
    trial = tmp_path / "runs/train/trials/0000"
    assert (trial / "out.txt").read_text() == "its own"
    assert (trial / "log.txt").read_text() == "the project's its own"
    assert (trial / "data/deep/numbers.txt").read_text() == "9he project's "
    assert (trial / "data/b.txt").read_text() == "the project's "
    (scripts / "helper.py").write_text("FACTOR = 5\n")
    changed = start("again")
    assert changed.returncode == 1 and "helper.py" in changed.stderr


def _wheel(folder: Path) -> Path:
    path = folder / "tinything-1.0-py3-none-any.whl"
    info = "tinything-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tinything.py", "VALUE = 7\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


def test_packages_are_installed_once_beside_the_users_environment(tmp_path: Path) -> None:
    from katibflow import search
    from katibflow.api.function_source import program_of

    def uses(x: float) -> float:
        from importlib import import_module

        return float(import_module("tinything").VALUE)

    wheel = _wheel(tmp_path)
    program = program_of(uses, {"x": search.double(0, 1)}, "score", [str(wheel)])
    environment = {
        **os.environ,
        "KATIBFLOW_TRIAL_FOLDER": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_TARGET": str(tmp_path / "never"),
    }
    words = [sys.executable, "-c", BOOTSTRAP, program, "x=1"]
    both = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate()[0].splitlines() for process in both]
    assert [lines[-1] for lines in printed] == ["score=7.0"] * 2
    assert sorted(map(len, printed)) == [1, 2]  # one of the two has installed it
    wheel.unlink()
    third = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert third.stdout == "score=7.0\n", third.stderr
    here = subprocess.run([sys.executable, "-c", "import tinything"], capture_output=True)
    assert here.returncode == 1
    assert not (tmp_path / "never").exists()
