"""Optuna storages: where one is, and how a study in it keeps up with a run."""
