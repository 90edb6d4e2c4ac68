"""The arguments of `tune` are Katib's, and what is none of them is an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

import katibflow
from katibflow import search
from katibflow.api.trial_pod import patched
from katibflow.errors import InputError


def train(x: float) -> float:
    return x


def tuned(**arguments: Any) -> dict[str, Any]:
    made = katibflow.tune(train, {"x": search.double(0, 1)}, max_trial_count=3, **arguments)
    return made.model.document()["spec"]


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    return found


class Model:
    """Has its fields as the classes of the package `kubernetes` and of Katib's SDK have them."""

    def __init__(self, names: dict[str, str], **fields: Any) -> None:
        self.attribute_map = names
        for field in names:
            setattr(self, field, fields.get(field))


def test_settings_may_be_a_list_of_objects_or_of_mappings() -> None:
    item = Model({"name": "name", "value": "value"}, name="random_state", value="3")
    wanted = [{"name": "random_state", "value": "3"}]
    for given in ([item], [{"name": "random_state", "value": 3}], {"random_state": 3}):
        spec = tuned(algorithm_name="random", algorithm_settings=given)
        assert spec["algorithm"]["algorithmSettings"] == wanted


def test_the_environment_may_be_kubernetes_own_objects() -> None:
    client = pytest.importorskip("kubernetes").client
    secret = client.V1SecretKeySelector(name="keys", key="token")
    env = [
        client.V1EnvVar(name="A", value="b"),
        client.V1EnvVar(name="T", value_from=client.V1EnvVarSource(secret_key_ref=secret)),
        client.V1EnvFromSource(config_map_ref=client.V1ConfigMapEnvSource(name="settings")),
        {"secretRef": {"name": "all"}, "prefix": "S_"},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    [container] = pod(tuned(env_per_trial=env))["containers"]
    assert container["env"] == [
        {"name": "A", "value": "b"},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    assert container["envFrom"] == [
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "all"}, "prefix": "S_"},
    ]


def test_where_pods_run_and_what_they_see() -> None:
    made = tuned(
        node_selector={"disk": "ssd"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "sets"}}],
        volume_mounts=[{"name": "data", "mountPath": "/data"}],
        resources_per_trial={"cpu": 2, "gpu": 1},
        trial_active_deadline_seconds=60,
        pod_template_patch={
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "serviceAccountName": "trainer",
                "containers": [{"name": "training-container", "imagePullPolicy": "Always"}],
                "volumes": [{"name": "shm", "emptyDir": {}}],
            },
        },
    )
    job = made["trialTemplate"]["trialSpec"]["spec"]
    assert job["activeDeadlineSeconds"] == 60
    assert job["template"]["metadata"] == {"labels": {"team": "a"}}
    found = pod(made)
    [container] = found.pop("containers")
    assert found == {
        "restartPolicy": "Never",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "sets"}},
            {"name": "shm", "emptyDir": {}},
        ],
        "serviceAccountName": "trainer",
    }
    assert container["imagePullPolicy"] == "Always" and container["command"][0] == "python3"
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert container["resources"]["limits"] == {"cpu": 2, "nvidia.com/gpu": 1}


def test_several_workers_have_all_of_it_too() -> None:
    job = tuned(workers=3, trial_active_deadline_seconds=5, node_selector={"a": "b"})[
        "trialTemplate"
    ]["trialSpec"]["spec"]
    assert job["runPolicy"] == {"activeDeadlineSeconds": 5}
    for replica in job["pytorchReplicaSpecs"].values():
        assert replica["template"]["spec"]["nodeSelector"] == {"a": "b"}


def test_requests_and_limits_may_differ() -> None:
    given = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    assert pod(tuned(resources_per_trial=given))["containers"][0]["resources"] == given


def test_the_default_algorithm() -> None:
    assert tuned()["algorithm"]["algorithmName"] == "tpe"


def test_several_package_indices() -> None:
    made = tuned(packages_to_install=["torch"], pip_index_urls=["https://a", "https://b"])
    program = pod(made)["containers"][0]["command"][-1]
    options = "['--index-url', 'https://a', '--extra-index-url', 'https://b']"
    assert f"install(['torch'], {options})" in program
    made = tuned(packages_to_install=["torch"], pip_index_url="https://a")
    program = pod(made)["containers"][0]["command"][-1]
    assert "install(['torch'], ['--index-url', 'https://a'])" in program


def test_a_patch_merges_what_has_names_and_takes_out_what_is_null() -> None:
    value = {"a": {"b": 1, "c": 2}, "args": ["x"], "env": [{"name": "A", "value": "1"}]}
    patch = {"a": {"b": None, "d": 3}, "args": ["y"], "env": [{"name": "A", "value": "2"}]}
    assert patched(value, patch) == {
        "a": {"c": 2, "d": 3},
        "args": ["y"],
        "env": [{"name": "A", "value": "2"}],
    }


WRONG: list[tuple[str, Any, str]] = [
    ("algorithm_settings", "sigma=1", 'algorithm_settings: found "sigma=1"; allowed: a list'),
    ("algorithm_settings", [3], "algorithm_settings[0]: found 3; allowed: a mapping"),
    ("algorithm_settings", {"a": [1]}, "algorithm_settings: a: found a list of 1"),
    ("algorithm_settings", [{"name": "a"}], "algorithm_settings[0]: found a mapping with the keys"),
    ("early_stopping_settings", 3, "early_stopping_settings: found 3"),
    ("env_per_trial", ["A=b"], "env_per_trial[0]: found"),
    ("env_per_trial", "A=b", "env_per_trial: found"),
    ("env_per_trial", {"A": 1}, "env_per_trial: A: found 1; allowed: a text"),
    ("env_per_trial", [{"value": "b"}], "env_per_trial[0]: found a mapping with the keys value"),
    ("env_per_trial", [object()], "env_per_trial[0]: found a object; allowed: a mapping"),
    ("packages_to_install", "torch", 'packages_to_install: found "torch"; allowed: a list of'),
    ("packages_to_install", [1], "packages_to_install[0]: found 1; allowed: a text"),
    ("pip_index_urls", "https://a", "pip_index_urls: found"),
    ("pip_index_url", ["https://a"], "pip_index_url[0]: found a list of 1"),
    ("additional_metric_names", "loss", "additional_metric_names: found"),
    ("resources_per_trial", "2", "resources_per_trial: found"),
    ("resources_per_trial", {"cpu": [2]}, "resources_per_trial: cpu: found a list of 1"),
    ("trial_active_deadline_seconds", 1.5, "trial_active_deadline_seconds: found 1.5; allowed: a"),
    ("trial_active_deadline_seconds", 0, "trial_active_deadline_seconds: found 0"),
    ("node_selector", ["a"], "node_selector: found a list of 1; allowed: a mapping"),
    ("tolerations", {"key": "a"}, "tolerations: found a mapping with the keys key; allowed: a li"),
    ("volumes", ["data"], "volumes[0]: found"),
    ("volume_mounts", 3, "volume_mounts: found 3; allowed: a list"),
    ("pod_template_patch", "x", "pod_template_patch: found"),
    ("pod_template_patch", {"a": {1: 2}}, "pod_template_patch.a: a key: found 1"),
    ("metrics_collector_config", "Push", "metrics_collector_config: found"),
    ("workers", "2", 'workers: found "2"; allowed: 1 or more'),
    ("name", 3, "name: found 3; allowed: a text"),
    ("base_image", 3, "base_image: found 3"),
]


@pytest.mark.parametrize(("argument", "value", "message"), WRONG)
def test_a_wrong_argument_is_named(argument: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        tuned(**{argument: value})
    assert str(caught.value).startswith(message)


def test_the_parameters_are_a_mapping() -> None:
    with pytest.raises(InputError, match="parameters: found a list of 1; allowed: a mapping"):
        katibflow.tune(train, ["x"])  # type: ignore[arg-type]


def test_two_ways_to_name_an_index_are_one_too_many() -> None:
    with pytest.raises(InputError, match="pip_index_urls: found a list of 1; allowed: nothing"):
        tuned(pip_index_url="https://a", pip_index_urls=["https://b"])


def calculates(lr: float) -> float:
    return -lr * 2


def silent(x: float) -> None:
    y = x  # noqa: F841


def prints(x: float) -> None:
    print(f"objective={x}")


def betas(x: float, betas: tuple[float, float]) -> float:
    return x + betas[0]


@pytest.mark.parametrize(
    ("function", "parameters", "text"),
    [
        (
            train,
            {"x": (1e-4, 1e-1)},
            r"x: found \(0.0001, 0.1\), .*search.double\(min=0.0001, max=0.1",
        ),
        (train, {"x": (1, 4)}, r"allowed: search.int\(min=1, max=4\)"),
        (train, {"x": range(1, 4)}, r"found range\(1, 4\), .*search.int\(min=1, max=3, step=1\)"),
        (train, {"x": {"min": 0.1, "max": 1}}, r"search.double\(min=0.1, max=1\)"),
        (train, {"x": 3}, "parameters: found no search space; allowed: at least one"),
        (
            calculates,
            {"learning_rate": search.double(0, 1)},
            "found the argument lr, which is a number in its source and no parameter; "
            "allowed: learning_rate",
        ),
        (
            betas,
            {"x": search.double(0, 1), "beta": 0.9},
            "missing a required argument: 'betas'; allowed: one mapping of parameters, or the",
        ),
        (silent, {"x": search.double(0, 1)}, "returns nothing and prints nothing; allowed: return"),
    ],
    ids=["pair", "whole pair", "range", "mapping", "constants", "other name", "names", "silent"],
)
def test_what_would_make_every_trial_fail_is_told_when_tune_is_called(
    function: Any, parameters: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        katibflow.tune(function, parameters, max_trial_count=1)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (betas, {"betas": (0.9, 0.999), "x": search.double(0, 1)}),
        (prints, {"x": search.double(0, 1)}),
    ],
)
def test_a_pair_that_the_function_declares_and_a_function_that_prints_are_right(
    function: Any, parameters: dict[str, Any]
) -> None:
    assert katibflow.tune(function, parameters, max_trial_count=1).model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resources_per_trial": {"memory": "4GB"}}, 'resources_per_trial: memory: found "4GB"; '),
        ({"resources_per_trial": {"cpu": -1}}, "resources_per_trial: cpu: found -1; allowed: an "),
        ({"resources_per_trial": {"gpu": 1.5}}, "resources_per_trial: gpu: found 1.5; allowed: a "),
        (
            {"resources_per_trial": {"cpus": 2}},
            "resources_per_trial: found cpus; allowed: cpu, me",
        ),
        (
            {"resources_per_trial": {"limits": {"cpu": "500m"}, "requests": {"cpu": 1}}},
            "resources_per_trial: requests: cpu: found 1; allowed: at most the limit, 500m",
        ),
        ({"node_selector": {"gpu": True}}, "node_selector: gpu: found true; allowed: a text, in "),
        ({"volumes": [{"emptyDir": {}}]}, "volumes[0].name: found nothing (null); allowed: a text"),
        (
            {"volume_mounts": [{"name": "data", "mountPath": "/data"}]},
            "volume_mounts: spec.containers: training-container.volumeMounts: name: found "
            '"data"; allowed: a volume of the pod: there is none',
        ),
        (
            {"pod_template_patch": {"spec": {"serviceAcountName": "x"}}},
            "pod_template_patch: spec: found serviceAcountName, an unknown field; allowed: others "
            "(did you mean serviceAccountName?)",
        ),
        (
            {"pod_template_patch": {"spec": None}},
            "pod_template_patch: spec: found nothing (null)",
        ),
        (
            {"pod_template_patch": {"spec": {"restartPolicy": "Always"}}},
            'pod_template_patch: spec.restartPolicy: found "Always"; allowed: Never, OnFailure',
        ),
        (
            {"pod_template_patch": {"spec": {"containers": [{"image": "x"}]}}},
            "pod_template_patch: spec.containers[0].name: found nothing (null); allowed: a text",
        ),
        (
            {"pod_template_patch": {"spec": {"containers": None}}},
            "pod_template_patch: spec.containers: found none; allowed: training-container among",
        ),
    ],
)
def test_what_a_cluster_would_refuse_in_every_trial_is_told_at_once(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        tuned(**arguments)
    assert str(caught.value).startswith(message)


def test_what_a_cluster_takes_is_taken() -> None:
    spec = tuned(
        resources_per_trial={"cpu": "500m", "memory": "1.5Gi", "gpu": 1, "amd.com/gpu": "0"},
        volumes=[{"name": "data", "emptyDir": {}}],
        volume_mounts=[{"name": "data", "mountPath": "/data"}],
        pod_template_patch={
            "metadata": {"labels": {"team": "a"}},
            "spec": {"aFieldOfTomorrow": 3, "terminationGracePeriodSeconds": 5},
        },
    )
    assert pod(spec)["aFieldOfTomorrow"] == 3
