"""A study's report: its page, its plots, its Markdown and JSON."""
