"""What `import katibflow` gives: Experiment, tune, Result, and the Run of a pipeline."""
