"""What the tests of many writers start: index videos into a library with the tests' encoder, as the command would.

    python -m tests.scale.writer ADDRESS VIDEOS

Prints how many videos were indexed; an error's line goes to standard error, with the status 1.
"""

from __future__ import annotations

import sys

from tests.colours import ColourEncoder
from wordframe.errors import WordframeError
from wordframe.library import Library

if __name__ == "__main__":
    try:
        library = Library.open(sys.argv[1], encoder=ColourEncoder())
        print(len(library.index(sys.argv[2]).indexed))
    except WordframeError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
