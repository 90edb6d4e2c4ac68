"""The pipeline's components: each calls one function of `katibflow.steps`.

A component's function is its source in the compiled file, alone, so it imports inside. Argo keeps
that text several times per task: it stays short. KFP reads the annotations themselves, so they
are not postponed.
"""
