"""The command line: one module for each command.

Exit status: 0 when the goal was met or the trials or combinations are used up, 1 when the
experiment failed or could not be run, 2 for bad input, 128 + the signal's number when interrupted.
"""

from katibflow.cli.app import app, main

__all__ = ["app", "main"]
