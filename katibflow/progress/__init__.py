"""What a person sees while an experiment goes on."""
