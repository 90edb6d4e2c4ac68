"""The pipeline's components: each calls one function of `katibflow.steps`.

KFP reads a component's annotations themselves, so they are not postponed, and what a function needs
it imports inside: those that stand alone (`start`, `finish`, `best`, `library`) travel as their
source text, the others in the library.
"""
