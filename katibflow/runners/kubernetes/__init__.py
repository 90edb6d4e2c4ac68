"""Trials as objects on a Kubernetes cluster."""
