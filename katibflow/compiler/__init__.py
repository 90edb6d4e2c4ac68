"""From an Experiment to a file that Kubeflow Pipelines runs."""
