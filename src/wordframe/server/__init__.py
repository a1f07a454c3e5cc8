"""The server: ``create_app`` makes a FastAPI application over one library, for the page and for programs.

guard.py    who may ask: hosts, sites, tokens, sizes; headers of every answer
problems.py errors as RFC 9457 problem documents
places.py   model work in threads of its own, so many at once
opened.py   the library and its search engine, which may come to be while the server runs
answers.py  what the library says, as the objects of ``wordframe.client.schemas``
media.py    files of the library by id, and playable clips of them
routes/     the addresses of ``/api/v1``
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
