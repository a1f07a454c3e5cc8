"""A rendered world: films of several scenes made by the project, with captions that describe only a part of each.

The papers' motive, that a sentence speaks of some frames and not of the whole video, where the truth is known.
``scene.py`` what there is and which split shows it · ``wording.py`` sentences · ``painting.py`` pictures ·
``world.py`` files. Models are trained and compared on it by ``benchmarks/rendered_world.py``.
"""

from wordframe.data.synthetic.scene import Scene, Thing, is_held_out, split_of
from wordframe.data.synthetic.world import Film, Shot, best_recall_at_1, read_films, write_world

__all__ = ["Film", "Scene", "Shot", "Thing", "best_recall_at_1", "is_held_out", "read_films", "split_of", "write_world"]
