from .engine import SearchEngine as SearchEngine
from .explain import Reasons as Reasons
from .hits import Hit as Hit
from .hits import Moment as Moment
from .recall import first_stage_recall as first_stage_recall
from .recall import plain_sentences as plain_sentences
from .shortlist import DEFAULT_SIZE as DEFAULT_SIZE
from .shortlist import Filters as Filters
