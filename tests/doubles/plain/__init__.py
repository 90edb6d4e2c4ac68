"""A third backend, as a user would add it in a folder ``katibflow/runners/plain``."""
