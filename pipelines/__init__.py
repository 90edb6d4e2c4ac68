"""The DAGs, in the Kubeflow Pipelines DSL."""
