"""The search space: its dimensions, and the conditions under which they are active."""
