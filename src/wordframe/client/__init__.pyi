from .client import Client as Client
from .client import ServerError as ServerError
from .schemas import ID_PATTERN as ID_PATTERN
from .schemas import MAX_ID as MAX_ID
from .schemas import Problem as Problem
from .schemas import SearchRequest as SearchRequest
