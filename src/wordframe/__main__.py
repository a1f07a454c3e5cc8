"""``python -m wordframe`` is the command ``wordframe``."""

from wordframe.cli import entry_point

entry_point()
