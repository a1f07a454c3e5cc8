"""ActivityNet Captions: videos of two minutes, a sentence for each event (Krishna et al., ICCV 2017).

Retrieval joins the sentences of a video into one paragraph and tests on ``val_1``, since the test captions are not
public. There is no split for choosing checkpoints: part of train is held out.
"""

from __future__ import annotations

from wordframe.data.annotations import AnnotationFolder, Captions, by_video, paragraphs, strings
from wordframe.errors import AnnotationError

FILES = {"train": ("train.json", "activitynet_train.json"), "test": ("val_1.json", "activitynet_val_1.json")}


def read(folder: AnnotationFolder, split: str) -> Captions:
    """Paragraph by video id, ``v_`` included."""
    file = folder.need(FILES[split])
    rows = []
    for video, entry in by_video(file, folder.json(FILES[split])).items():
        if not isinstance(entry, dict) or "sentences" not in entry:
            raise AnnotationError(f"{file}: {video!r} must be an object with 'sentences'")
        rows += [(video, sentence) for sentence in strings(file, video, entry["sentences"])]
    return paragraphs(folder.gather(file, rows))
