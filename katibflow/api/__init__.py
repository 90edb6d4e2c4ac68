"""The Python API: `Experiment`, `tune`, `Result` and `RemoteRun`, for ``import katibflow``.

The command line is in `cli`, which uses the rooms below directly.
"""
