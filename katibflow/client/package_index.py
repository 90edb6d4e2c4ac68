"""Looks whether a release that the steps are to install is in the index of Python packages.

The steps' pip asks the index that their image names, usually pypi.org; this machine can only ask
its own. So what the index surely lacks is refused, and what cannot be known is left to the steps.
"""

from __future__ import annotations

import json
import os
import re

from katibflow.errors import InputError

__all__ = ["check_release"]

_PYPI = "https://pypi.org/simple"
_INDEX = "PIP_INDEX_URL"
_EXTRA = "PIP_EXTRA_INDEX_URL"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?:==\s*([\w.!+-]+))?\s*")
_JSON = "application/vnd.pypi.simple.v1+json"
_SECONDS = 5.0


def check_release(package: str) -> None:
    """Checks that the index has a release, as far as one request tells.

    Args:
        package: A requirement, as ``katibflow==1.0``; one with an address is not looked for.

    Raises:
        InputError: The index has no such package, or no such version of it.
    """
    import urllib3

    match = _REQUIREMENT.fullmatch(package)
    if match is None or os.environ.get(_EXTRA):
        return
    name, version = match.groups()
    index = (os.environ.get(_INDEX) or _PYPI).rstrip("/")
    path = re.sub(r"[-_.]+", "-", name).lower()
    try:
        answer = urllib3.PoolManager(retries=False, timeout=_SECONDS).request(
            "GET", f"{index}/{path}/", headers={"Accept": _JSON}
        )
        known = json.loads(answer.data).get("versions") if answer.status == 200 else None
    except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError):
        return
    lacks = "" if answer.status != 404 else f"no {name}"
    if version is not None and isinstance(known, list) and version not in known:
        lacks = f"no version {version} of {name}"
    if lacks:
        shown = urllib3.util.parse_url(index)._replace(auth=None).url
        raise InputError(
            f'--package: found "{package}", and {shown} has {lacks}; allowed: a release that is '
            f"there, or {_INDEX} with the index that the steps' pip asks; without --package the "
            "pipeline carries the library itself"
        )
