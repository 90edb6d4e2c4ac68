"""The Python API: `Experiment`, `tune`, `Result` and `Run`, for ``import katibflow``.

The command line is in `cli`, which uses the rooms below directly.
"""
