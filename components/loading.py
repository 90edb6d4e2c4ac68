"""Gets the packed library from the run's own Workflow, for the steps that come without it.

The compiler puts this function's source, and that of `in_cluster` and `unpacking`, before that of
each component that calls it, so the function imports all else that it needs.
"""

from katibflow.components.in_cluster import read_workflows
from katibflow.components.unpacking import unpack_library

__all__ = ["PACKAGES", "load_library"]

PACKAGES = "KATIBFLOW_PACKAGES"
"""The variable that names the packages which a step with the library installs."""


def load_library(library: str, run: str, archive: str) -> None:
    """Writes the library to a ZIP archive, puts that on ``sys.path``, and installs what it needs.

    The library is in the source of the component `library`, and the packages are named in the
    environment. Outside of a cluster, as in `kfp.local`, or if the image has the library, this does
    nothing.

    Args:
        library: The mark of the library in the pipeline; "" without one.
        run: KFP's id of the run.
        archive: The archive's path; its folder is created if needed.
    """
    import json
    import os
    import re

    os.makedirs(os.path.dirname(archive), exist_ok=True)
    if not library or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return
    workflows = read_workflows(
        f"?labelSelector=pipeline%2Frunid%3D{run}",
        "let the run's service account list workflows.argoproj.io, or compile with "
        "--image or --package",
    )["items"]
    found = re.search(library + r':([^"\\]+)', json.dumps(workflows))
    if found is None:
        raise SystemExit(
            f"katibflow: found {len(workflows)} Workflows of run {run}, in none of them "
            f"{library}, the steps' code; compile with --image or --package"
        )
    unpack_library(found[1], archive)
    from katibflow.steps.installing import install

    install(os.environ["KATIBFLOW_PACKAGES"].split())
