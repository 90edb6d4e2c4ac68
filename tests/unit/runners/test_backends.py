"""Tests the choice of a backend, its options, and the messages about both."""

from __future__ import annotations

import inspect

import pytest

from katibflow.api.experiment import Experiment
from katibflow.errors import InputError, RunnerError
from katibflow.runners import backends
from katibflow.runners.backends import (
    BACKENDS,
    DEFAULT,
    all_options,
    backend_of,
    backend_of_steps,
    check_options,
)


@pytest.mark.parametrize(
    ("named", "is_inside", "expected"),
    [
        (None, False, "local"),
        ("", False, "local"),
        (None, True, "kubernetes"),
        ("local", True, "local"),
        ("kubernetes", False, "kubernetes"),
    ],
)
def test_steps_run_trials_where_they_are_unless_they_are_told(
    named: str | None, is_inside: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("KATIBFLOW_RUNNER", named),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1" if is_inside else None),
    ):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert backend_of_steps() is backend_of(expected)


def test_an_unknown_name_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^on: found moon; allowed: local, kubernetes$"):
        backend_of("moon")
    monkeypatch.setenv("KATIBFLOW_RUNNER", "moon")
    with pytest.raises(
        InputError, match=r'^KATIBFLOW_RUNNER: found "moon"; allowed: kubernetes, l'
    ):
        backend_of_steps()


def test_a_backend_that_this_library_has_not_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "BACKENDS", {"moon": "katibflow.runners.moon.backend"})
    with pytest.raises(RunnerError, match=r"moon need .*: pip install katibflow=="):
        backend_of("moon")


def test_a_package_that_a_backend_lacks_is_not_mistaken_for_the_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacks(module: str) -> None:
        raise ModuleNotFoundError("No module named 'rockets'", name="rockets")

    monkeypatch.setattr(backends, "import_module", lacks)
    with pytest.raises(ModuleNotFoundError, match="rockets"):
        backend_of(DEFAULT)


def test_options_are_told_with_their_backends() -> None:
    told = {name: (owned.option.words, owned.allowed) for name, owned in all_options().items()}
    assert told == {
        "maps": ("--map", "only with --on local"),
        "python": ("--python", "only with --on local"),
        "env_file": ("--env-file", "only with --on local"),
        "clean_env": ("--clean-env", "only with --on local"),
        "gpus": ("--gpus", "only with --on local"),
        "namespace": ("--namespace", "only with --on kubernetes"),
        "context": ("--context", "only with --on kubernetes"),
        "resume": ("--resume", "only with --on kubernetes"),
    }
    assert set(told) <= set(inspect.signature(Experiment.run).parameters)


@pytest.mark.parametrize(
    ("on", "given", "says"),
    [
        ("local", {"namespace": "a"}, "--namespace: found a; allowed: only with --on kubernetes"),
        ("kubernetes", {"maps": ["/a=b"]}, "--map: found /a=b; allowed: only with --on local"),
        (
            "local",
            {"rockets": 2},
            "rockets: found 2; allowed: maps, python, env_file, gpus, clean_env, "
            "namespace, context, resume",
        ),
    ],
)
def test_an_option_of_another_backend_is_refused(
    on: str, given: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_options(on, given)
    assert str(caught.value) == says


@pytest.mark.parametrize("on", BACKENDS)
def test_what_was_not_given_fits_everywhere(on: str) -> None:
    check_options(on, {"maps": [], "namespace": None, "context": None, "rockets": None})


def test_an_option_that_two_backends_have_is_allowed_with_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twins = {**BACKENDS, "cluster": BACKENDS["kubernetes"]}
    monkeypatch.setattr(backends, "BACKENDS", twins)
    check_options("cluster", {"namespace": "a"})
    with pytest.raises(InputError, match="only with --on kubernetes or --on cluster"):
        check_options("local", {"namespace": "a"})
