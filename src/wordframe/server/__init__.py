"""The server: ``create_app`` makes a FastAPI application over one library, for the page and for programs.

guard.py         who may ask: hosts, sites, tokens, sizes, the proxy's path; headers of every answer
problems.py      errors as RFC 9457 problem documents
routes.py        the addresses of ``/api/v1``; ``requests.py`` is how a request is read
served.py        the library that is served, which may come to be while the server runs
answers.py       what the library says, as the objects of ``wordframe.client.schemas``; no web framework
presentation.py  videos and moments as those objects show them: names, media types, addresses
media.py         files of the library by id, and playable clips of them
indexing.py      runs of ``wordframe index`` that the server starts, and how any run gets on
preparing.py     what the model needs of each segment, made in the background
on_ray.py        the application on the machines of a Ray cluster
warming.py       what a search needs, loaded before somebody waits for it
pool.py          model work in threads of its own, so many at once
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
