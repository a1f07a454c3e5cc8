from .main import entry_point as entry_point
from .main import main as main
from .text import timecode as timecode
