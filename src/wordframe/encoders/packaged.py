"""Weights that come inside pip packages: found without importing the package, checked against a pinned SHA-256.

The packages are small and old; the pinned hash is what makes their content trustworthy, whoever publishes them next.
Neighbours: ``classifier.py`` and ``sentence.py`` load what is found here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from wordframe.errors import EncoderError


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """One file of an installed package.

    Attributes:
        module: the name the package is imported by.
        path: of the file inside the module's folder.
        requirement: what pip installs.
        sha256: of the file's content, in hex.
    """

    module: str
    path: str
    requirement: str
    sha256: str

    def locate(self) -> Path:
        """Where the file lies.

        Raises:
            EncoderError: the package or the file is not there.
        """
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise EncoderError(
                f"the package {self.module} is not installed; install it with: pip install {self.requirement}"
            )
        file = Path(spec.submodule_search_locations[0]) / self.path
        if not file.is_file():
            raise EncoderError(f"{file} is missing; {self._mend()}")
        return file

    def verified(self) -> Path:
        """Where the file lies, after its content was checked.

        Raises:
            EncoderError: it is not there, cannot be read, or is not the file that is meant.
        """
        file = self.locate()
        try:
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise EncoderError(f"{file} cannot be read ({error.strerror}); {self._mend()}") from error
        if found != self.sha256:
            raise EncoderError(
                f"{file} is damaged or of another version: its SHA-256 is {found}, expected {self.sha256}; "
                f"{self._mend()}"
            )
        return file

    def _mend(self) -> str:
        return f"install it again with: pip install --force-reinstall --no-deps {self.requirement}"
