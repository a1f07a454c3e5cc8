"""A typed client of a wordframe server: ``client.py`` calls, ``schemas.py`` is what comes back."""
