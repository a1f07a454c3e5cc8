from ._terminal import timecode as timecode
from .main import entry_point as entry_point
from .main import main as main
