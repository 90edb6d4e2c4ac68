"""Runs of compiled pipelines: submitted to Kubeflow Pipelines, followed, listed and stopped."""
