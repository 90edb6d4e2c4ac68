"""The components of the compiled pipelines, one function a module; the DAGs are in `pipelines`.

Most components only call the function of the same name in `katibflow.steps`, and travel in the
packed library. `start`, `controller`, `finish`, `best` and `library` travel as source text, so each
imports all that it needs inside its function; the first three get the library by `loading`, whose
source travels with theirs. KFP reads annotations as objects, so they are not postponed.
"""
