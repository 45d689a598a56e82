"""How hypothesis draws: the same instances on every run and every machine, and never against the clock.

`pytest --hypothesis-profile=explore` draws new ones instead.
"""

from hypothesis import settings

settings.register_profile("explore", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
