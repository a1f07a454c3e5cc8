from ._results import Chunk as Chunk
from ._results import Failure as Failure
from ._results import Job as Job
from .pipeline import extract as extract
