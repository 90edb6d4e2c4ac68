"""Talks to Kubeflow Pipelines: uploads, starts, schedules, follows, lists and stops runs.

It also reads what the cluster has of a run: its Workflow, its pods and its trials' jobs. Compiling
is in `compiler`, printing for the command line in `cli`.
"""
