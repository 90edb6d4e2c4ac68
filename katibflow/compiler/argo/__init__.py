"""Compiles an Experiment to a Workflow for Argo alone, with the models of hera.

The tasks' bodies are those of the pipelines for Kubeflow Pipelines (`katibflow.steps`).
"""
