"""From a query to ranked moments: a shortlist from the vector index, then exact scores by a model."""

from wordframe.search.engine import SearchEngine
from wordframe.search.hits import Hit, Moment
from wordframe.search.shortlist import Filters

__all__ = ["Filters", "Hit", "Moment", "SearchEngine"]
