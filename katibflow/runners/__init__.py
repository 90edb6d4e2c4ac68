"""The places where trials run, each a folder; `base` defines what a runner is."""
