"""What training raises on bad input; each message is one line that says what, where and what to do."""

from __future__ import annotations

from wordframe.errors import WordframeError


class RecipeError(WordframeError):
    """A recipe that cannot be read, or asks for what does not go together."""


class TrainingError(WordframeError):
    """A run that cannot start in its folder, or cannot go on."""
