"""Tests replicas' environments: expansion, fields, PyTorch's variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.runners.local.environment import (
    container_environment,
    expand,
    pytorch_environment,
)


def kubernetes_expand(text: str, values: Mapping[str, str]) -> str:
    """Expands character by character, as Kubernetes documents it: the reference for `expand`."""
    done, position = "", 0
    while position < len(text):
        if text[position] != "$" or position + 1 == len(text):
            done += text[position]
            position += 1
        elif text[position + 1] == "$":
            done += "$"
            position += 2
        elif text[position + 1] == "(" and ")" in text[position + 2 :]:
            end = text.index(")", position + 2)
            name = text[position + 2 : end]
            done += values.get(name, f"$({name})")
            position = end + 1
        else:
            done += text[position : position + 2]
            position += 2
    return done


@given(st.text("$()AB x", max_size=12))
def test_references_are_expanded_as_kubernetes_does(text: str) -> None:
    values = {"A": "1", "AB": "$(A)", "": "empty"}
    assert expand(text, values) == kubernetes_expand(text, values)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(A", "$A ${A} $(A"),
    ],
)
def test_only_defined_names_in_parentheses_are_expanded(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_a_containers_values_refer_to_earlier_ones_only() -> None:
    entries: list[Mapping[str, Any]] = [
        {"name": "EARLY", "value": "$(LATE) $(RANK)"},
        {"name": "LATE", "value": "2"},
        {"name": "BOTH", "value": "$(EARLY)+$(LATE)"},
        {"name": "EMPTY"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    values = container_environment(entries, {"RANK": "1"}, {"metadata.name": "x-master-0"})
    assert values == {
        "RANK": "1",
        "EARLY": "$(LATE) 1",
        "LATE": "2",
        "BOTH": "$(LATE) 1+2",
        "EMPTY": "",
        "POD": "x-master-0",
    }


def test_a_master_and_its_workers_find_each_other() -> None:
    assert pytorch_environment({}, {"Master": 1, "Worker": 3}, 2, 29400) == {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29400",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": "29400",
        "WORLD_SIZE": "4",
        "RANK": "2",
        "PET_NODE_RANK": "2",
        "PET_NNODES": "4",
        "PET_NPROC_PER_NODE": "auto",
    }


@pytest.mark.parametrize(("per_node", "world"), [("2", "4"), (2, "4"), ("auto", "2")])
def test_the_world_has_all_processes_of_a_node(per_node: object, world: str) -> None:
    values = pytorch_environment({"nprocPerNode": per_node}, {"Master": 1, "Worker": 1}, 0, 1)
    assert values["WORLD_SIZE"] == world
    assert values["PET_NPROC_PER_NODE"] == str(per_node)


def test_an_elastic_job_leaves_the_ranks_to_torchrun() -> None:
    policy = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "maxRestarts": 5,
        "nProcPerNode": 2,
        "rdzvId": "me",
        "rdzvConf": [{"key": "timeout", "value": "9"}, {"key": "a", "value": "b"}],
        "standalone": True,
    }
    assert pytorch_environment({"elasticPolicy": policy}, {"Worker": 2}, 1, 29400) == {
        "PET_RDZV_ENDPOINT": "127.0.0.1:29400",
        "PET_RDZV_BACKEND": "c10d",
        "PET_NNODES": "1:3",
        "PET_MAX_RESTARTS": "5",
        "PET_NPROC_PER_NODE": "2",
        "PET_RDZV_ID": "me",
        "PET_RDZV_CONF": "timeout=9,a=b",
        "PET_STANDALONE": "",
    }


def test_an_elastic_job_without_bounds_has_as_many_nodes_as_workers() -> None:
    values = pytorch_environment({"elasticPolicy": {"rdzvBackend": "c10d"}}, {"Worker": 2}, 0, 1)
    assert values["PET_NNODES"] == "2"
