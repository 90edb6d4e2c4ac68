"""hera's models of Argo's API.

hera changes how PyYAML writes texts in the whole program, as soon as it is imported. What else
writes YAML here, KFP's compiler too, must not depend on that: the change is taken back.
"""

from __future__ import annotations

from typing import Any

import yaml

_DUMPERS: tuple[Any, ...] = (yaml.Dumper, yaml.representer.SafeRepresenter)
_before = [dumper.yaml_representers[str] for dumper in _DUMPERS]

from hera.workflows import models  # noqa: E402

for _dumper, _representer in zip(_DUMPERS, _before, strict=True):
    _dumper.add_representer(str, _representer)

__all__ = ["models"]
