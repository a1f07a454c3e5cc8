"""Measuring the moments that a search gives: each sentence asked of its own video, and of the whole library.

What is measured is what a user gets: the segments of a committed library, scored by its model, as ``search`` and
``heat`` give them. Neighbours: ``wordframe.data`` reads sentences and moments, ``wordframe.evaluate`` has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wordframe.data import MomentQuery
from wordframe.evaluate import MAX_PREDICTIONS, MomentAnswer, PredictedMoment
from wordframe.library import Snapshot
from wordframe.search.queries import Query, encode
from wordframe.search.search import heat, moments_in, search


def answer_moments(
    snapshot: Snapshot,
    queries: Sequence[MomentQuery],
    video_ids: Mapping[str, str],
    *,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[MomentAnswer]:
    """What the library answers to each sentence.

    Args:
        video_ids: the library's id of each video that the sentences name; others in it are part of the corpus, too.
        on_progress: called with the number of sentences done.

    Raises:
        WordframeError: a sentence is too long, or the library does not hold a video.
    """
    names = {video_id: name for name, video_id in video_ids.items()}
    found = []
    for done, query in enumerate(queries, start=1):
        encoded = encode(snapshot, Query(text=query.text))
        strip = heat(snapshot, encoded, video_ids[query.video])
        hits = search(snapshot, encoded, top=MAX_PREDICTIONS, moments=MAX_PREDICTIONS)
        corpus = [
            PredictedMoment(names.get(hit.video_id, ""), moment.start_seconds, moment.end_seconds, moment.score)
            for hit in hits
            for moment in hit.moments
        ]
        found.append(
            MomentAnswer(
                inside=tuple(
                    PredictedMoment(query.video, moment.start_seconds, moment.end_seconds, moment.score)
                    for moment in moments_in(snapshot, encoded, video_ids[query.video], top=MAX_PREDICTIONS)
                ),
                corpus=tuple(sorted(corpus, key=lambda moment: -moment.score)[:MAX_PREDICTIONS]),
                seconds=strip.seconds,
                heat=strip.values,
            )
        )
        on_progress(done)
    return found
