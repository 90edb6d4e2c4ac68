"""The text that runs a tuned function's program, the same in all trials of a release.

``katibflow.tune`` puts it into the trials' command, before the program itself. A run of one release
may go on with another one, so the texts of earlier releases are here too: two of them are no
difference between two Experiments.
"""

from __future__ import annotations

__all__ = ["BOOTSTRAP", "BOOTSTRAPS", "IMPORTS", "PROJECT"]

PROJECT = "KATIBFLOW_PROJECT"
"""Variable with the project's folder on this machine; a cluster's trials do not have it."""

IMPORTS = "KATIBFLOW_IMPORTS"
"""Variable with the folders, one after another as in PATH, of the project's modules."""

BOOTSTRAP = """\
import ast, os, pathlib, re, runpy, shutil, sys, tempfile, traceback
project = os.environ.get("KATIBFLOW_PROJECT")
changes = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate")
def show(event, given):
    if event not in ("open", "os.listdir", "os.scandir", *changes):
        return
    if not isinstance(given[0], (str, os.PathLike)):
        return
    flags = given[2] or 0 if event == "open" else 0
    writes = event == "open" and (set(given[1] or "") & set("wxa+") or flags & 3)
    for path in map(os.fspath, given[:2] if event == "os.rename" else given[:1]):
        parts = pathlib.Path(path).parts
        if not parts or parts[0] == "/" or ".." in parts or os.getcwd() + os.sep != here:
            continue
        source = os.path.join(project, parts[0])
        if not here.find(source + os.sep):
            continue
        try:
            if writes or event in changes:
                own(parts[:-1])
                if writes and not flags & os.O_EXCL:
                    own(parts, flags & os.O_TRUNC)
            elif os.path.exists(os.path.join(project, path)):
                names = [os.path.join(*parts[: count + 1]) for count in range(len(parts))]
                for name in [each for each in names if not os.path.lexists(each)][:1]:
                    os.symlink(os.path.join(project, name), os.path.join(here, name))
        except OSError:
            pass
def own(parts, is_new=False):
    for count in range(1, len(parts) + 1):
        name = os.path.join(*parts[:count])
        place, source = os.path.join(here, name), os.path.join(project, name)
        if os.path.islink(place):
            if os.readlink(place) != source:
                return
            os.unlink(place)
        if os.path.lexists(place):
            continue
        if os.path.isdir(source):
            os.mkdir(place)
            for each in os.listdir(source):
                os.symlink(os.path.join(source, each), os.path.join(place, each))
        elif os.path.exists(source) and not is_new:
            shutil.copy(source, place)
if project:
    here = os.getcwd() + os.sep
    sys.path[1:1] = os.environ.get("KATIBFLOW_IMPORTS", project).split(os.pathsep)
    sys.addaudithook(show)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "objective.py")
    text = sys.argv.pop(1)
    path.write_text(text, encoding="utf-8")
    sys.argv[0] = str(path)
    name = re.search(r"else [{](.*): result[}][)][.]items", text)
    name = name and ast.literal_eval(name[1])
    told, write = [], sys.stdout.write
    def note(words):
        if name and name in words:
            told.append(words)
        return write(words)
    sys.stdout.write = note
    try:
        result = runpy.run_path(str(path), run_name="__main__").get("result")
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != str(path):
            trace = trace.tb_next
        first = trace.tb_next if trace and trace.tb_next else trace
        shown = "".join(traceback.format_exception(error.with_traceback(first)))
        sys.exit(shown.replace(folder, "").replace('"/objective.py"', '"objective.py"').rstrip())
    if name and not told and (result is None or isinstance(result, dict) and name not in result):
        found = list(result) if isinstance(result, dict) else result
        print(f"the function returned {found}; allowed: a value of {name}", flush=True)
"""
"""Runs its first argument from a file, so tracebacks show lines, and processes can import it.

A traceback begins with the first frame of the user's: those of this text, of ``runpy`` and of the
call are left out.

On this machine the project's modules can be imported, and a file or folder of the project's that
is read by a relative path is linked into the trial's folder at that moment. What a trial writes,
renames or removes is its own: a link on the way to it becomes a folder of links, or a copy.
"""

_THIRD = """\
import ast, os, pathlib, re, runpy, sys, tempfile, traceback
project = os.environ.get("KATIBFLOW_PROJECT")
def show(event, given):
    if event not in ("open", "os.listdir", "os.scandir"):
        return
    if not isinstance(given[0], (str, os.PathLike)):
        return
    writes = event == "open" and (set(given[1] or "") & set("wxa+") or (given[2] or 0) & 3)
    top = pathlib.Path(given[0]).parts[:1]
    if writes or not top or top[0] in ("/", "..") or os.path.lexists(top[0]):
        return
    source = os.path.join(project, top[0])
    if os.path.exists(os.path.join(project, given[0])) and here.find(source + os.sep):
        try:
            os.symlink(source, os.path.join(here, top[0]))
        except OSError:
            pass
if project:
    here = os.getcwd() + os.sep
    sys.path[1:1] = os.environ.get("KATIBFLOW_IMPORTS", project).split(os.pathsep)
    sys.addaudithook(show)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "objective.py")
    text = sys.argv.pop(1)
    path.write_text(text, encoding="utf-8")
    sys.argv[0] = str(path)
    try:
        result = runpy.run_path(str(path), run_name="__main__").get("result")
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != str(path):
            trace = trace.tb_next
        own = trace.tb_next if trace and trace.tb_next else trace
        shown = "".join(traceback.format_exception(error.with_traceback(own)))
        sys.exit(shown.replace(folder, "").replace('"/objective.py"', '"objective.py"').rstrip())
    name = re.search(r"else [{](.*): result[}][)][.]items", text)
    body = text.split('if __name__ == "__main__":')[0]
    if name and not re.search("print|report_metrics|write", body):
        name = ast.literal_eval(name[1])
        found = list(result) if isinstance(result, dict) else result
        if result is None or isinstance(result, dict) and name not in result:
            print(f"the function returned {found}; allowed: a value of {name}", flush=True)
"""

_SECOND = """\
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

BOOTSTRAPS = (BOOTSTRAP, _THIRD, _SECOND, _FIRST)
"""The text of this release, then those of earlier ones."""
