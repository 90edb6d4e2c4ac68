"""The packed library works alone, and its modules do what the real ones do."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from katibflow.compiler.shaking import shaken, with_entry
from katibflow.compiler.stripping import stripped

from components.start import start as start_component
from katibflow.algorithms import ALGORITHMS
from katibflow.compiler.library import MAX_PACK_LENGTH, Used, pack_library, packed_modules
from pipelines import controller, rounds
from tests.shell_trials import document

_STEPS = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ImportError(f"{name} is not installed here")
REFUSED = {"kfp", "kubernetes", "optuna", "plotly", "numpy", "scipy", "psutil", "re2"}
sys.meta_path.insert(0, Refused())
from katibflow import steps
assert steps.__file__.startswith(sys.argv[1]), steps.__file__
text, folder = sys.stdin.read(), sys.argv[3]
counts = {"name": "alone", "parallelTrialCount": "2", "maxTrialCount": "2"}
steps.start(text, counts, "rounds", "some-run", f"{folder}/study")
REFUSED.remove("optuna"); REFUSED.remove("numpy")
items, _ = steps.suggestion(f"{folder}/study", f"{folder}/batch")
REFUSED |= {"optuna", "numpy"}
for name in [name for name in sys.modules if name.split(".")[0] in REFUSED]:
    del sys.modules[name]
outcomes, logs = [], {}
for item in items:
    number = json.loads(item)["number"]
    logs[number] = f"{folder}/log-{number}"
    with open(logs[number], "w") as log:
        log.write(f"loss={number}.5\\n")
    outcomes.append(json.dumps({"trial": number, "state": "SUCCEEDED", "reason": "",
                                "message": "", "end": "2026-01-01T00:00:00+00:00"}))
done = steps.collector(f"{folder}/batch", outcomes, logs, f"{folder}/next")
print(json.dumps([done.round, done.trials, *steps.loop(f"{folder}/next")]))
try:
    steps.launcher(f"{folder}/batch", items[0], f"{folder}/log")
except SystemExit as error:
    print(error)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as `start` writes it: the component's own source, run as it stands."""
    path = tmp_path_factory.mktemp("library") / "library"
    source = Path(start_component.__code__.co_filename).read_text(encoding="utf-8")
    unpacking = source[source.index("    import base64") : source.index("    sys.path.insert")]
    code = unpacking.replace("@katibflow-pack@", pack_library(Used("random"))).replace(
        "library.path", "where"
    )
    exec("if True:\n" + code, {"where": str(path)})
    return path


def test_steps_run_from_it_alone_with_no_more_than_they_install(
    archive: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _STEPS, str(archive), _packages(), str(tmp_path)],
        cwd="/",
        input=json.dumps(document("echo loss=1")),
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("KATIBFLOW")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = json.loads(next(line for line in lines if line.startswith("[1, 2")))
    assert told == [1, 2, False, "ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2"]
    # Trials on this machine are for laptops, where the library is installed.
    assert "pip install katibflow==" in lines[-1]


def test_kubernetes_runner_is_in_it(archive: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]; sys.path.append(sys.argv[2])\n"
        "from katibflow.runners import kubernetes; print(kubernetes.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, str(archive), _packages()],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(archive))


def test_every_line_keeps_its_number() -> None:
    root = Path(__file__).parent.parent.parent
    for path, text in packed_modules(Used("random", "medianstop")).items():
        real = (root / path).read_text(encoding="utf-8")
        assert len(text.split("\n")) == len(real.split("\n"))
        defined = {
            node.name: node.lineno
            for node in ast.walk(ast.parse(real))
            if isinstance(node, ast.FunctionDef)
        }
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.lineno in {
                    other.lineno
                    for other in ast.walk(ast.parse(real))
                    if isinstance(other, ast.FunctionDef) and other.name == node.name
                }, (path, node.name, defined[node.name])


def _packed_keys(module: str, name: str, used: Used) -> list[str]:
    """The keys that are left of a dictionary in the pack."""
    tree = ast.parse(packed_modules(used)[module])
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
    ]
    assert isinstance(value, ast.Dict)
    return [ast.unparse(key).strip("'") for key in value.keys if key is not None]


class TestEachExperimentCarriesItsOwn:
    @pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
    def test_algorithm(self, algorithm: str) -> None:
        used = Used(algorithm, components=rounds.COMPONENTS)
        module = "katibflow/algorithms/__init__.py"
        assert _packed_keys(module, "ALGORITHMS", used) == [algorithm]
        assert _packed_keys(module, "_BY_NAME", used) == []
        assert len(pack_library(used)) <= MAX_PACK_LENGTH

    @pytest.mark.parametrize("stopping", ["", "medianstop"])
    def test_early_stopping_rule(self, stopping: str) -> None:
        used = Used("random", stopping)
        module = "katibflow/early_stopping/__init__.py"
        assert _packed_keys(module, "RULES", used) == [stopping] * bool(stopping)
        assert ("katibflow/early_stopping/medianstop.py" in packed_modules(used)) == bool(stopping)
        assert "katibflow/early_stopping/pruners.py" not in packed_modules(used)

    def test_class_of_optuna(self) -> None:
        modules = packed_modules(Used("optuna:TPESampler", "optuna:MedianPruner"))
        assert "katibflow/algorithms/by_name.py" in modules
        assert "katibflow/early_stopping/pruners.py" in modules
        assert "katibflow/algorithms/by_name.py" not in packed_modules(Used("tpe"))

    def test_layout(self) -> None:
        for_rounds = packed_modules(Used("random", components=rounds.COMPONENTS))
        for_controller = packed_modules(Used("random", components=controller.COMPONENTS))
        assert set(for_controller) - set(for_rounds) == {
            "katibflow/board.py",
            "katibflow/engine.py",
            "katibflow/steps/controlling.py",
        }
        assert "def summary" not in for_controller["katibflow/steps/presenting.py"]

    def test_largest_of_them_fits_into_a_workflow(self) -> None:
        for layout in (rounds, controller):
            used = Used("pbt", "optuna:MedianPruner", "TensorFlowEvent", layout.COMPONENTS)
            assert len(pack_library(used)) <= MAX_PACK_LENGTH


class TestStripping:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("def f(a: int = 1) -> int:\n    return a\n", "def f(a = 1) :\n return a\n"),
            ('def f():\n    """Text."""\n', "def f():\n ...\n"),
            ('def f():\n    """Text."""\n    return 1  # why\n', "def f():\n\n return 1\n"),
            (
                "def f():\n    x: int\n    y: int = 2\n    return y\n",
                "def f():\n pass\n y = 2\n return y\n",
            ),
            ("class A:\n    x: int = 1\n", "class A:\n x: int = 1\n"),
            ("x = '# no comment'  # one\n", "x = '# no comment'\n"),
            ('x = """a\n    b  \n"""\n', 'x = """a\n    b  \n"""\n'),
            ('__all__ = ["x"]\nx = 1\n', "\nx = 1\n"),
        ],
        ids=[
            "annotations",
            "only a docstring",
            "docstring and comment",
            "variables",
            "class",
            "text",
            "long text",
            "__all__",
        ],
    )
    def test_leaves_the_program(self, source: str, expected: str) -> None:
        assert stripped(source) == expected


class TestShaking:
    def test_keeps_what_is_reached_through_names_imports_and_attributes(self) -> None:
        modules = {
            "p": "",
            "p.a": "from p import b\nfrom p.c import one, two\n\ndef go():\n return b.used(one)\n"
            "def other():\n return two\n",
            "p.b": "def used(x):\n return _helper(x)\ndef _helper(x):\n return x\n"
            "def unused():\n pass\n",
            "p.c": "one = 1\ntwo = 2\n",
            "p.d": "x = 1\n",
        }
        left = shaken(modules, [("p.a", "go")])
        assert set(left) == {"p", "p.a", "p.b", "p.c"}
        assert "other" not in left["p.a"]
        assert "two" not in left["p.a"] + left["p.c"]
        assert "_helper" in left["p.b"]
        assert "unused" not in left["p.b"]

    def test_of_a_dictionary_only_one_entry_is_left(self) -> None:
        text = 'd = {\n "a": one,\n "b": f(\n  2\n ),\n "c": 3,\n}\nx = 1'
        assert with_entry(text, "d", "b") == 'd = {\n\n "b": f(\n  2\n ),\n\n}\nx = 1'

    def test_follows_a_name_that_a_package_hands_on(self) -> None:
        modules = {
            "p": "from p.a import f, g\n",
            "p.a": "def f():\n return 1\ndef g():\n return 2\n",
            "p.b": "from p import f\n\ndef go():\n return f()\n",
        }
        left = shaken(modules, [("p.b", "go")])
        assert left["p"].strip() == "from p.a import f"
        assert "def g" not in left["p.a"]


def _packages() -> str:
    return sysconfig.get_paths()["purelib"]
