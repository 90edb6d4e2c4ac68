"""Measures what katibflow costs; `python -m benchmarks` prints all of it as one table."""
