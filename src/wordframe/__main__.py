"""``python -m wordframe`` is the command ``wordframe``."""

from wordframe.app.cli import entry_point

entry_point()
