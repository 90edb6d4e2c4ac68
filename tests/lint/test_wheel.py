"""What is installed: one package, light without its extras, beside anybody's own packages."""

from __future__ import annotations

import configparser
import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from katibflow.extras import EXTRAS
from tests.lint.environments import (
    Environment,
    build,
    closure,
    copy_of_the_project,
    requirements_of,
)
from tests.paths import ROOT
from tests.shell_trials import document

EXAMPLES, TRIAL_IMAGE = ROOT / "examples", ROOT / "trial_image"
MOST_DISTRIBUTIONS = 40
MOST_MEGABYTES = 380


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_project(tmp_path_factory.mktemp("source") / "katibflow")


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = build(source, tmp_path_factory.mktemp("wheel"), "--wheel")
    return made


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install katibflow` brings."""
    needed = closure(requirements_of(wheel))
    return Environment.new(tmp_path_factory.mktemp("plain") / "venv", wheel, needed)


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel beside all that is installed here."""
    made = Environment.new(tmp_path_factory.mktemp("full") / "venv", wheel)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (made.packages / "zz_here.pth").write_text(f"{here}\n", encoding="utf-8")
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return {name: archive.read(name) for name in names}


def expected(source: Path) -> set[str]:
    """The package's files, the links to folders at the top followed."""
    found = {"katibflow/__init__.pyi", "katibflow/py.typed"}
    for folder in ("", "components", "pipelines"):
        place = (source / "katibflow" / folder).resolve()
        for file in place.rglob("*.py"):
            found.add((Path("katibflow") / folder / file.relative_to(place)).as_posix())
    return found


def test_the_wheel_holds_the_package_and_its_types_and_nothing_else(
    wheel: Path, source: Path
) -> None:
    held = contents(wheel)
    scripts = {name for name in held if name.startswith("katibflow/scaffold/trial_image/")}
    code = {name for name in held if name.endswith((".py", ".pyi", "py.typed"))} - scripts
    assert code == expected(source)
    data = {
        f"katibflow/report/{name}"
        for name in ("page.html.j2", "script.js", "style.css", "table.js")
    }
    data.add("katibflow/steps/pins.json")
    data |= {f"katibflow/scaffold/examples/{path.name}" for path in EXAMPLES.glob("*.yaml")}
    assert {Path(name).name for name in scripts} == {p.name for p in TRIAL_IMAGE.glob("*.py")}
    assert set(held) == code | data | scripts
    assert b"def start(" in held["katibflow/components/start.py"]
    assert b"def rounds(" in held["katibflow/pipelines/rounds.py"]


def test_a_wheel_of_the_sdist_holds_the_same_and_the_sdist_real_files(
    wheel: Path, source: Path, tmp_path: Path
) -> None:
    of_sdist, sdist = sorted(build(source, tmp_path), key=lambda path: path.suffix == ".gz")
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2]: archive.getmember(name) for name in archive.getnames()}
    assert members["katibflow/components/start.py"].isreg()
    assert members["katibflow/pipelines/rounds.py"].isreg()
    assert not any(member.issym() or member.islnk() for member in members.values())
    assert contents(of_sdist) == contents(wheel)


@pytest.mark.parametrize("how", ["archive", "clone"])
def test_a_wheel_can_be_made_of_what_git_hands_out(how: str, tmp_path: Path) -> None:
    there = tmp_path / "katibflow"
    if how == "clone":
        subprocess.run(["git", "clone", "-q", "--no-local", str(ROOT), str(there)], check=True)
    else:
        there.mkdir()
        packed = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", str(there)], check=True, input=packed.stdout)
    (made,) = build(there, tmp_path / "made", "--wheel")
    held = {name for name in contents(made) if "scaffold/trial_image" not in name}
    code = {name for name in held if name.endswith((".py", ".pyi", "py.typed"))}
    assert code == expected(there)
    assert "katibflow/components/start.py" in code


def test_reporting_metrics_needs_nothing_but_python(wheel: Path, tmp_path: Path) -> None:
    bare = Environment.new(tmp_path / "venv", wheel)
    assert bare.distributions() == {"katibflow"}
    code = "import sys; before = {*sys.modules}; from katibflow import report_metrics; "
    code += "report_metrics({'loss': 0.5}); print(*({*sys.modules} - before))"
    done = bare.run("-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    *reported, modules = done.stdout.splitlines()
    assert any("loss" in line for line in reported)
    roots = {name.split(".")[0] for name in modules.split()}
    assert roots - {*sys.stdlib_module_names} == {"katibflow"}


def test_a_plain_install_is_light_and_whole(plain: Environment) -> None:
    checked = plain.check()
    assert checked.returncode == 0, checked.stdout
    names = plain.distributions()
    assert "katibflow" in names and "optuna" in names
    absent = {"kfp", "kubernetes", "scikit-learn", "torch", "pandas", "gjson"}
    assert not names & absent
    assert len(names) <= MOST_DISTRIBUTIONS, sorted(names)
    assert plain.megabytes() <= MOST_MEGABYTES


def experiment_file(
    folder: Path, changes: Mapping[str, object] | None = None, script: str = "echo loss=$X"
) -> Path:
    file = folder / "experiment.yaml"
    settings = {"spec.maxTrialCount": 3, "spec.resumePolicy": "LongRunning", **(changes or {})}
    file.write_text(yaml.safe_dump(document(script, settings)), encoding="utf-8")
    return file


@pytest.mark.parametrize("algorithm", ["tpe", "cmaes", "sobol", "multivariate-tpe"])
def test_a_plain_install_searches(plain: Environment, tmp_path: Path, algorithm: str) -> None:
    two = [
        {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "99"}}
        for name in ("x", "y")
    ]
    changes = {
        "spec.algorithm": {"algorithmName": algorithm},
        "spec.parameters": two,
        "spec.trialTemplate.trialParameters": [
            {"name": each["name"], "reference": each["name"]} for each in two
        ],
        "spec.maxTrialCount": 4,
    }
    file = experiment_file(tmp_path, changes, "echo loss=$X; : ${trialParameters.y}")
    done = plain.katibflow("run", str(file), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best trial: " in done.stdout


def test_a_plain_install_runs_resumes_and_reports(plain: Environment, tmp_path: Path) -> None:
    file = experiment_file(tmp_path)
    assert plain.katibflow("validate", str(file), folder=tmp_path).returncode == 0
    for most in (3, 8):
        experiment_file(tmp_path, {"spec.maxTrialCount": most})
        done = plain.katibflow("run", str(file), folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    done = plain.katibflow("report", str(run), "-o", "page.html", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "could not draw" not in page
    assert all(f'id="plot-{name}"' in page for name in ("history", "importance", "slice"))


def test_the_example_that_needs_nothing_runs(plain: Environment, tmp_path: Path) -> None:
    example = str(ROOT / "examples" / "metrics-file.yaml")
    done = plain.katibflow("run", example, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        ("compile FILE -o pipeline.yaml", "katibflow compile needs katibflow[kfp]"),
        ("submit FILE --host http://localhost:1", "katibflow submit needs katibflow[kfp]"),
        ("list --host http://localhost:1", "Kubeflow Pipelines' API needs katibflow[kfp]"),
        (
            "run FILE --on kubernetes",
            "katibflow run --on kubernetes needs katibflow[kubernetes]",
        ),
        ("dashboard FILE", "katibflow dashboard needs katibflow[dashboard]"),
    ],
)
def test_what_is_not_there_is_named_with_its_extra(
    plain: Environment, tmp_path: Path, words: str, needs: str
) -> None:
    file = experiment_file(tmp_path)
    if words.startswith("dashboard"):
        assert plain.katibflow("run", str(file), folder=tmp_path).returncode == 0
        (file,) = (tmp_path / "runs").iterdir()
    done = plain.katibflow(*words.replace("FILE", str(file)).split(), folder=tmp_path)
    extra = needs.partition("needs ")[2]
    assert (done.returncode, done.stderr) == (2, f"{needs}: pip install '{extra}'\n")


def test_the_install_that_the_readme_shows_validates_and_compiles(
    wheel: Path, tmp_path: Path
) -> None:
    needed = closure(requirements_of(wheel), "kfp")
    made = Environment.new(tmp_path / "venv", wheel, needed)
    checked = made.check()
    assert checked.returncode == 0, checked.stdout
    assert "kfp" in made.distributions()
    assert "torch" not in made.distributions()
    for words in ("validate seed.yaml", f"compile mnist.yaml -o {tmp_path}/mnist.yaml"):
        done = made.katibflow(*words.split(), folder=ROOT / "examples")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "mnist.yaml").read_bytes() == (ROOT / "compiled/mnist.yaml").read_bytes()


def test_gaussian_processes_need_an_extra(plain: Environment, tmp_path: Path) -> None:
    file = experiment_file(tmp_path, {"spec.algorithm": {"algorithmName": "bayesianoptimization"}})
    done = plain.katibflow("run", str(file), folder=tmp_path)
    assert done.returncode == 2
    assert "needs katibflow[torch]: pip install 'katibflow[torch]'" in done.stderr


OWN = """
import components.mine, pipelines.mine
assert components.mine.WHOSE == pipelines.mine.WHOSE == "the user's"
import katibflow.components.start, katibflow.pipelines.rounds
from katibflow.pipelines import experiment
from kfp import compiler, dsl
for module in (katibflow.components.start, katibflow.pipelines.rounds):
    assert module.__file__.startswith({packages!r}), module.__file__

@dsl.pipeline(name="own")
def own() -> None:
    experiment({file!r})

compiler.Compiler().compile(own, "own.yaml")
"""


@pytest.mark.parametrize("on_path", [False, True], ids=["beside", "on PYTHONPATH"])
@pytest.mark.parametrize("is_package", [False, True], ids=["folders", "packages"])
def test_packages_of_the_same_names_stay_the_user_s(
    full: Environment, tmp_path: Path, is_package: bool, on_path: bool
) -> None:
    project = tmp_path / "project"
    for name in ("components", "pipelines"):
        (project / name).mkdir(parents=True)
        (project / name / "mine.py").write_text('WHOSE = "the user\'s"\n', encoding="utf-8")
        for ours in ("start", "rounds", "launcher"):
            (project / name / f"{ours}.py").write_text("1 / 0\n", encoding="utf-8")
        if is_package:
            (project / name / "__init__.py").write_text("", encoding="utf-8")
    file = experiment_file(tmp_path)
    folder, path = (tmp_path, (project,)) if on_path else (project, ())
    code = OWN.format(packages=str(full.packages), file=str(file))
    for done in (
        full.run("-c", code, folder=folder, path=path),
        full.katibflow("compile", str(file), "-o", "pipeline.yaml", folder=folder, path=path),
        full.katibflow("run", str(file), folder=folder, path=path),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    assert "best trial: " in done.stdout
    assert (folder / "own.yaml").is_file()
    spec = next(yaml.safe_load_all((folder / "pipeline.yaml").read_text("utf-8")))
    assert "launcher" in str(spec["deploymentSpec"]["executors"])


def test_each_extra_brings_the_modules_that_are_asked_of_it(wheel: Path) -> None:
    owners = importlib.metadata.packages_distributions()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    extras = set(config["options.extras_require"])
    assert set(EXTRAS) == extras - {"all", "dev"}
    needs: dict[str, set[str]] = {extra: set() for extra in extras}
    for requirement in requirements_of(wheel):
        for extra in extras:
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                needs[extra].add(canonicalize_name(requirement.name))
    for extra, modules in EXTRAS.items():
        for module in modules:
            names = {canonicalize_name(name) for name in owners.get(module, [module])}
            assert names & needs[extra], f"{extra} does not bring {module}"
