"""The text that runs a tuned function's program, the same in all trials of a release.

``katibflow.tune`` puts it into the trials' command, before the program itself. A run of one release
may go on with another one, so the texts of earlier releases are here too: two of them are no
difference between two Experiments.
"""

from __future__ import annotations

__all__ = ["BOOTSTRAP", "BOOTSTRAPS"]

BOOTSTRAP = """\
import pathlib, runpy, sys, tempfile, traceback
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "objective.py")
    path.write_text(sys.argv.pop(1), encoding="utf-8")
    sys.argv[0] = str(path)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != str(path):
            trace = trace.tb_next
        own = trace.tb_next if trace and trace.tb_next else trace
        text = "".join(traceback.format_exception(error.with_traceback(own)))
        sys.exit(text.replace(folder, "").replace('"/objective.py"', '"objective.py"').rstrip())
"""
"""Runs its first argument from a file, so tracebacks show lines, and processes can import it.

A traceback begins with the first frame of the user's: those of this text, of ``runpy`` and of the
call are left out.
"""

_FIRST = """\
import pathlib, runpy, sys, tempfile, traceback
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "objective.py")
    path.write_text(sys.argv.pop(1), encoding="utf-8")
    sys.argv[0] = str(path)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except Exception:
        sys.exit(traceback.format_exc().rstrip())
"""

BOOTSTRAPS = (BOOTSTRAP, _FIRST)
"""The text of this release, then those of earlier ones."""
