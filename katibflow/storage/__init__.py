"""Optuna storages: how one is opened, and how a study in one is brought up to date with a run."""
