from .answers import Answers as Answers
from .application import create_app as create_app
from .served import ServedLibrary as ServedLibrary
