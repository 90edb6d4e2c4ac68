"""What a machine gives its trials: variables, an interpreter, and what stands for Secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from katibflow.errors import InputError
from katibflow.runners.local.checks import manifest_faults
from katibflow.runners.local.host import SYSTEM, Host, parse_python, read_env_files
from katibflow.runners.local.manifest import Command, command_of, plan_job
from katibflow.runners.local.preview import secret_notes


def job(**container: Any) -> dict[str, Any]:
    whole = {"name": "main", "command": ["python3", "-c", "pass"], **container}
    spec = {"template": {"spec": {"containers": [whole]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}


def command(manifest: dict[str, Any], host: Host) -> Command:
    return command_of(plan_job(manifest, "j", 1).replicas[0], host, Path("/"), {})


SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}


def test_a_file_of_variables_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# comment\n\nexport A=1\nB = 'two words'\nC=x=$A\n", encoding="utf-8")
    assert read_env_files([file]) == {"A": "1", "B": "two words", "C": "x=$A"}
    file.write_text("A=1\nsecret-without-a-name\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: found no NAME=VALUE") as caught:
        read_env_files([file])
    assert "secret-without" not in str(caught.value)


def test_a_secret_is_the_variable_of_the_file_or_else_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = job(env=[SECRET, {"name": "URL", "value": "x:$(TOKEN)"}])
    monkeypatch.delenv("TOKEN", raising=False)
    (fault,) = manifest_faults(manifest, Host())
    assert "token of the Secret hub" in fault.found and "--env-file FILE" in fault.allowed
    monkeypatch.setenv("TOKEN", "around")
    assert not list(manifest_faults(manifest, Host()))
    assert command(manifest, Host()).environment["URL"] == "x:around"
    (note,) = secret_notes(manifest, Host())
    assert note.endswith("the variable TOKEN of this command's environment stands in")
    host = Host(variables={"TOKEN": "filed"}, has_files=True)
    assert command(manifest, host).environment["URL"] == "x:filed"
    assert secret_notes(manifest, host)[0].endswith("the value in --env-file stands in")


def test_variables_of_a_whole_secret_come_from_a_file() -> None:
    manifest = job(envFrom=[{"secretRef": {"name": "db"}}], env=[{"name": "A", "value": "own"}])
    (fault,) = manifest_faults(manifest, Host())
    assert fault.path.endswith("envFrom[0]")
    host = Host(variables={"A": "1", "B": "2"}, has_files=True)
    assert not list(manifest_faults(manifest, host))
    environment = command(manifest, host).environment
    assert (environment["A"], environment["B"]) == ("own", "2")


def test_what_is_optional_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    reference = {"name": "hub", "key": "token", "optional": True}
    manifest = job(
        env=[{"name": "TOKEN", "valueFrom": {"configMapKeyRef": reference}}],
        envFrom=[{"configMapRef": {"name": "c", "optional": True}}],
    )
    assert not list(manifest_faults(manifest, Host()))
    assert "TOKEN" not in command(manifest, Host()).environment


def test_the_interpreter_is_the_one_that_is_named(tmp_path: Path) -> None:
    assert parse_python(sys.executable) == sys.executable
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    python = parse_python(str(tmp_path))
    assert python == str(tmp_path / "bin" / "python")
    made = command(job(), Host(python=python))
    assert made.arguments[0] == python
    assert made.environment["PATH"].split(os.pathsep)[0] == str(tmp_path / "bin")
    with pytest.raises(InputError, match="--python: found"):
        parse_python("no-such-python")


def test_a_clean_environment_has_no_secret_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("HOME", "/home/me")
    assert Host().around["AWS_SECRET_ACCESS_KEY"] == "s"
    assert "AWS_SECRET_ACCESS_KEY" not in Host(is_clean=True).around
    assert Host(is_clean=True).around["HOME"] == "/home/me"
    assert set(Host(is_clean=True).around) <= set(SYSTEM)
