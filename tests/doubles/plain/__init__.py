"""A third backend, as somebody would add it: the folder ``katibflow/runners/plain``."""
