"""``python -m wordframe`` is the command ``wordframe``."""

from wordframe.cli.main import entry_point

entry_point()
