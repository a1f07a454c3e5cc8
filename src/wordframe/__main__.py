"""``python -m wordframe`` is the command ``wordframe``."""

import sys


def entry_point() -> None:
    """What the installed script calls, too. Most of the code is loaded here, so Ctrl-C is told before it is."""
    try:
        from wordframe.cli import entry_point as run
    except KeyboardInterrupt:
        print("wordframe: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    entry_point()
