"""The search space: its dimensions, and which of them are active."""
