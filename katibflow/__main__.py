"""``python -m katibflow``: the command line."""

from __future__ import annotations

from katibflow.cli import main

main()
