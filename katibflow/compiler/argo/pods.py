"""Makes the templates of a Workflow's pods: command, environment, retries, security.

Their security contexts satisfy the Pod Security Standard "restricted".
"""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from katibflow.compiler.argo.models import models as m
from katibflow.compiler.plain import plain_source
from katibflow.components.in_cluster import read_workflows
from katibflow.components.loading import PACKAGES
from katibflow.components.unpacking import unpack_library
from katibflow.components.workflow_task import workflow_task
from katibflow.pipelines.pods import REQUESTS, USER
from katibflow.steps.workflow_tasks import PARAMETERS, RUN

__all__ = ["FOLDER", "Pods", "carried", "executor_patch", "pod_security"]

FOLDER = "/tmp/katibflow"

_RETRIES = 3
_SAFE_TO_EVICT = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


@dataclass(frozen=True)
class Pods:
    """What the pods of a Workflow have in common.

    Attributes:
        image: The image.
        has_artifacts: Whether outputs may be artifacts, as an artifact repository is there.
        is_packed: Whether the library travels, and ``packages`` are names of which it has the
            versions and hashes.
    """

    image: str
    has_artifacts: bool
    is_packed: bool

    def template(
        self,
        name: str,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        artifacts: Sequence[tuple[str, str]] = (),
        packages: Sequence[str] = (),
        follows_jobs: bool = False,
    ) -> m.Template:
        """Returns the template of one task's pod.

        Args:
            name: The task's name, in `steps.workflow_tasks.TASKS` too.
            inputs: Names of the input parameters, in the order of the task's arguments.
            outputs: Names of the output parameters, and of their files.
            artifacts: Names and files of the output artifacts.
            packages: Requirements for pip.
            follows_jobs: Whether the task follows jobs, so that moving its pod costs a try.
        """
        requests = {each: m.Quantity(root=text) for each, text in REQUESTS.items()}
        return m.Template(
            name=name,
            inputs=m.Inputs(parameters=[m.Parameter(name=each) for each in inputs]),
            outputs=m.Outputs(
                parameters=[
                    m.Parameter(name=each, value_from=m.ValueFrom(path=f"{FOLDER}/{each}"))
                    for each in outputs
                ],
                artifacts=[
                    m.Artifact(
                        name=each,
                        path=f"{FOLDER}/{file}",
                        archive=m.ArchiveStrategy(none=m.NoneStrategy()),
                        optional=True,
                    )
                    for each, file in artifacts
                ]
                if self.has_artifacts
                else None,
            ),
            metadata=m.Metadata(annotations=_SAFE_TO_EVICT) if follows_jobs else None,
            retry_strategy=m.RetryStrategy(
                limit=m.IntOrString(root=_RETRIES),
                retry_policy="Always",
                backoff=m.Backoff(duration="10s", factor=m.IntOrString(root=2)),
            ),
            container=m.Container(
                image=self.image,
                command=_command([] if self.is_packed else packages),
                args=[name, *(f"{{{{inputs.parameters.{each}}}}}" for each in inputs)],
                env=[
                    m.EnvVar(name="HOME", value="/tmp"),
                    m.EnvVar(name="PYTHONUNBUFFERED", value="1"),
                    m.EnvVar(name="KATIBFLOW_WORKFLOW", value="{{workflow.name}}"),
                    m.EnvVar(name=RUN, value="{{workflow.uid}}"),
                    m.EnvVar(name=PARAMETERS, value="{{workflow.parameters.json}}"),
                    *(
                        [m.EnvVar(name=PACKAGES, value=" ".join(packages))]
                        if self.is_packed
                        else []
                    ),
                ],
                resources=m.ResourceRequirements(requests=requests),
                security_context=_container_security(),
            ),
        )


def pod_security() -> m.PodSecurityContext:
    """Returns the security context of all pods; `executor_patch` has what containers need."""
    return m.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
    )


def _container_security() -> m.SecurityContext:
    return m.SecurityContext(
        allow_privilege_escalation=False, capabilities=m.Capabilities(drop=["ALL"])
    )


def executor_patch() -> str:
    """Returns the patch, as JSON, that gives Argo's own containers the steps' security context.

    Argo gives them one only if its ConfigMap says so, and as it is installed that does not.
    """
    context = _container_security().model_dump(by_alias=True, exclude_none=True)

    def of(name: str) -> list[dict[str, object]]:
        return [{"name": name, "securityContext": context}]

    return json.dumps({"initContainers": of("init"), "containers": of("wait")})


def carried(**texts: str) -> list[m.Artifact]:
    """Returns the texts that every step reads, as arguments of the Workflow.

    `components.workflow_task` reads them there.
    """
    return [m.Artifact(name=name, raw=m.RawArtifact(data=text)) for name, text in texts.items()]


def _command(packages: Sequence[str]) -> list[str]:
    functions = (unpack_library, read_workflows, workflow_task)
    source = plain_source("\n".join(map(inspect.getsource, functions)), annotated=False)
    program = f"{source}\nimport sys\nworkflow_task(*sys.argv[1:])"
    script = 'exec python3 -P -c "$0" "$@"'
    if packages:
        script = f"python3 -m pip install -q {' '.join(map(shlex.quote, packages))};{script}"
    return ["sh", "-ec", script, program]
