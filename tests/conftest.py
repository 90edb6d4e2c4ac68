"""Settings that all tests share."""

from hypothesis import settings

settings.register_profile("katibflow", deadline=None)
settings.load_profile("katibflow")
