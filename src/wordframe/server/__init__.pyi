from .answers import Answers as Answers
from .application import create_app as create_app
from .on_ray import Serving as Serving
from .preparing import Preparing as Preparing
from .served import ServedLibrary as ServedLibrary
