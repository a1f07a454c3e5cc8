from .application import create_app as create_app
from .opened import Opened as Opened
