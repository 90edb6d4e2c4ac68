"""Compiles an Experiment to a pipeline file for Kubeflow Pipelines.

The DAGs themselves are in `pipelines`, the tasks in `components`; uploading is in `client`.
"""
