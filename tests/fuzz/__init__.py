"""A campaign of damaged files against the real commands (``make fuzz``); ``__main__.py`` says what counts."""
