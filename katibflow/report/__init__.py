"""Shows a study: the report's page and plots, the table of trials, and data as JSON.

Markdown for Kubeflow Pipelines is in `steps.markdown`.
"""
