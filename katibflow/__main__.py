"""Runs the command line for ``python -m katibflow``; the commands are in `cli`."""

from __future__ import annotations

from katibflow.cli import main

main()
