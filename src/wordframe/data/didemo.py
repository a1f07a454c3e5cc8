"""DiDeMo: Flickr videos of at most half a minute, several descriptions each (Hendricks et al., ICCV 2017).

Retrieval joins the descriptions of a video, in the order of the file, into one paragraph (CLIP4Clip and all after it).
The files hold 1,094 and 1,037 videos in val and test; the published sizes are 1,065 and 1,004, of the videos that
could still be downloaded then, so a report's gallery says which were there.
"""

from __future__ import annotations

from wordframe.data.annotations import AnnotationFolder, Captions, entries, paragraphs

FILES = {split: (f"{split}_data.json", f"didemo_{split}.json") for split in ("train", "val", "test")}


def read(folder: AnnotationFolder, split: str) -> Captions:
    """Paragraph by video; videos keep the ending that the file gives them."""
    file, content = folder.need(FILES[split]), folder.json(FILES[split])
    return paragraphs(folder.gather(file, entries(file, content, video=str, description=str)))
