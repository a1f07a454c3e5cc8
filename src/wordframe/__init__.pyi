__version__: str

from . import losses as losses
from .encoders import load_encoder as load_encoder
from .errors import WordframeError as WordframeError
from .evaluate import rank as rank
from .features import SimilarityOutput as SimilarityOutput
from .features import TextFeatures as TextFeatures
from .features import VideoFeatures as VideoFeatures
from .library import Library as Library
from .models import PRESETS as PRESETS
from .models import ModelSettings as ModelSettings
from .models import TextVideoModel as TextVideoModel
from .models import load_authors_checkpoint as load_authors_checkpoint
from .models import load_model as load_model
from .models import register_family as register_family
from .models import register_preset as register_preset
from .search import Filters as Filters
from .search import Hit as Hit
from .search import SearchEngine as SearchEngine
