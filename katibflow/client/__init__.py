"""Talks to Kubeflow Pipelines, or to Argo alone: starts, schedules, follows, lists and stops runs.

It also uploads pipelines, and reads what the cluster has of a run: its Workflow, its pods and its
trials' jobs. Compiling is in `compiler`, printing for the command line in `cli`.
"""
