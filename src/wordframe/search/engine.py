"""The door for programs: a library and a model, and ``search`` over whatever is committed now.

    engine = wf.SearchEngine(wf.Library.open("my-library"))
    for hit in engine.search("a child laughs", top=5):
        print(hit.path, hit.start_seconds, hit.score)

For more than a search take ``engine.snapshot()`` and the functions of ``search.py``. The default model is the untrained
language-video attention.
"""

from __future__ import annotations

from pathlib import Path

from wordframe.library import Library, Snapshot
from wordframe.models import TextVideoModel
from wordframe.search.filters import Filters
from wordframe.search.queries import Query, encode
from wordframe.search.results import Hit
from wordframe.search.search import SHORTLIST, search


class SearchEngine:
    """Answers queries over one library, from any number of threads; sees what an indexer commits meanwhile.

    Raises:
        LibraryError: there is no library, it is damaged, or its encoder cannot be had.
        CheckpointError: the model was made for features of another encoder.
    """

    def __init__(self, library: Library, model: TextVideoModel | None = None, *, name: str = "MODEL") -> None:
        self.library = library
        if model is not None:
            library.check_model(model, name)
        self._model = model
        self.model = library.snapshot(model).model

    @classmethod
    def with_model(cls, library: Library, name: str, *, untrained: bool = False) -> SearchEngine:
        """An engine that scores with a preset, or with a checkpoint's folder or hub id.

        Raises:
            WordframeError: there is no such model, it does not fit the library's features, or its heads need training
                and ``untrained`` does not allow that.
        """
        return cls(library, library.load_model(name, untrained=untrained), name=name)

    def snapshot(self) -> Snapshot:
        """The library as it is now, with the model."""
        return self.library.snapshot(self._model)

    def search(
        self,
        text: str | None = None,
        *,
        image: str | Path | bytes | None = None,
        clip: str | Path | None = None,
        like: str | None = None,
        top: int = 10,
        moments: int = 3,
        filters: Filters | None = None,
        exact: bool = False,
        shortlist: int = SHORTLIST,
        explain: bool = False,
    ) -> list[Hit]:
        """The ``top`` videos that fit a sentence, a picture, a clip, or a segment that they look like; best first.

        Args:
            text, image, clip, like: the query; exactly one of them. image and clip are files, like a segment's id.
            moments: at most so many moments a video.
            exact: score every segment, not only the shortlist.
            shortlist: how many segments stage one hands to the model.
            explain: say of each hit why its best moment fits.

        Raises:
            WordframeError: the query is empty, too long or unreadable, or the library is empty.
            ValueError: not exactly one query, or ``top`` below 1.
        """
        snapshot = self.snapshot()
        query = encode(snapshot, Query(text=text, image=image, clip=clip, like=like))
        return search(
            snapshot,
            query,
            top=top,
            moments=moments,
            filters=filters,
            exact=exact,
            shortlist=shortlist,
            explained=explain,
        )
