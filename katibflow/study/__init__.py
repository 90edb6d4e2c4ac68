"""What is on record of an experiment: trials, objectives, decisions, what a resumed run takes."""
