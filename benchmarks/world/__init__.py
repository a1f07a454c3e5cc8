"""A rendered world: films of several scenes made by the project, with captions that describe only a part of each.

The papers' motive, that a sentence speaks of some frames and not of the whole video, where the truth is known.
``scene.py`` what there is and which split shows it · ``wording.py`` sentences · ``painting.py`` pictures · ``mp4.py``
and ``films.py`` files · ``clip.py``, ``features.py``, ``heads.py`` what is trained on them · ``table.py`` what came of
it. The command is benchmarks/rendered_world.py.
"""
