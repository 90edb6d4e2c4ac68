"""The command line: a module for each command, and `app`, which puts them together.

Code that Python users need too is in `api` and the rooms below.

Exit status: 0 when the goal was met or the trials or combinations are used up, 1 when the
experiment failed or could not be run, 2 for bad input, 128 + the signal's number when interrupted.
"""

from katibflow.cli.app import app, main

__all__ = ["app", "main"]
