"""A typed client of a wordframe server: ``client.py`` calls, ``schemas.py`` is what comes back."""

from wordframe.client.client import Client, ServerError

__all__ = ["Client", "ServerError"]
