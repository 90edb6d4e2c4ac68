"""Metrics collectors: one module for each way a trial reports its metrics."""
