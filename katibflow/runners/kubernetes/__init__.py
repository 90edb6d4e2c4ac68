"""Runs trials as jobs on a Kubernetes cluster."""
