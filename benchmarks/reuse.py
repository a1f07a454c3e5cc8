"""What it costs and saves that frames which hardly differ take the feature of an encoded one.

    python benchmarks/reuse.py FOLDER [--captioned FOLDER] [--seconds 300] [--made FOLDER]

FOLDER's subfolders (or FOLDER itself) hold videos; a slide lecture and a fixed camera are made beside them
(``still_videos.py``). Each is extracted twice, with every frame encoded and as indexing does. Printed, for each: the
share of frames reused; over the reused frames the cosine of their feature and the one they would have had, its 1st
percentile and least; and the segments that the library would cut, both ways. Last, for the folder of captioned videos,
``average`` of ``offline_encoder.py`` over the frames that indexing looks at, both ways.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from offline_encoder import per_video
from results import save
from still_videos import build

from wordframe.data import match_videos, read_captions
from wordframe.encoders import Encoder, load_encoder
from wordframe.evaluate import both_ranks
from wordframe.extraction import Chunk, Job, extract
from wordframe.features import VideoFeatures
from wordframe.heads import ZeroShotAttention
from wordframe.library import find_videos
from wordframe.video import cut_segments, index_times

Features = dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]


def extracted(paths: list[Path], encoder: Encoder, *, reuse: bool) -> tuple[Features, int]:
    """Seconds and features of each video, and how many frames were reused."""
    found: dict[str, list[Chunk]] = {}
    jobs = [Job(str(path), str(path)) for path in paths]
    for chunk in extract(jobs, encoder, times=index_times, reuse=reuse, cores=1):
        if isinstance(chunk, Chunk):
            found.setdefault(chunk.key, []).append(chunk)
    whole = {}
    for key, chunks in found.items():
        chunks.sort(key=lambda chunk: chunk.index)
        whole[key] = tuple(np.concatenate([getattr(c, name) for c in chunks]) for name in ("seconds", "features"))
    return whole, sum(chunk.num_reused for chunks in found.values() for chunk in chunks)  # type: ignore[return-value]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def compare(every: Features, some: Features, reused: int) -> dict[str, Any]:
    """One row of the table."""
    cosines = np.concatenate([(unit(f) * unit(some[key][1])).sum(axis=1) for key, (_, f) in every.items()])
    cosines = np.sort(cosines)[:reused]  # all others are equal: encoded both times
    segments = [
        sum(len(cut_segments(seconds, features, float(seconds[-1]) + 0.5)) for seconds, features in of.values())
        for of in (every, some)
    ]
    frames = sum(len(seconds) for seconds, _ in every.values())
    return {
        "frames": frames,
        "share_reused": reused / frames,
        "cosine_1st_percentile": float(np.percentile(cosines, 1)) if reused else None,
        "least_cosine": float(cosines[0]) if reused else None,
        "segments_every_frame": segments[0],
        "segments": segments[1],
    }


def averages(folder: Path, every: Features, some: Features, encoder: Encoder) -> dict[str, float]:
    """``average`` of ``offline_encoder.py`` on what indexing stores, every frame encoded or not."""
    matched = match_videos(folder, read_captions(folder / "captions.json"))
    captions, owners = matched.queries()
    texts, owner_of = encoder.encode_text(captions), torch.tensor(owners)
    rates = {}
    for name, of in (("every frame", every), ("reused", some)):
        rows = [torch.from_numpy(of[str(pair.path)][1]) for pair in matched.pairs]
        longest = max(map(len, rows))
        frames = torch.stack([torch.nn.functional.pad(r, (0, 0, 0, longest - len(r))) for r in rows])
        mask = torch.tensor([[True] * len(r) + [False] * (longest - len(r)) for r in rows])
        scores = ZeroShotAttention()(texts, VideoFeatures(frames, frames, mask)).logits
        rates[name] = float(per_video(*both_ranks(scores, owner_of, num_videos=len(rows)), owner_of).mean())
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--captioned", type=Path, help="videos with captions.json")
    parser.add_argument("--seconds", type=int, default=300, help="length of the lecture and the camera")
    parser.add_argument("--made", type=Path, help="where the made videos are, or are kept (default: nowhere)")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("offline")
    rows: dict[str, Any] = {}
    recall: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        folders = [path for path in sorted(wanted.folder.iterdir()) if path.is_dir()] or [wanted.folder]
        folders += [wanted.captioned] if wanted.captioned and wanted.captioned not in folders else []
        for folder in [*folders, *build(wanted.made or Path(place), wanted.seconds)]:
            paths = [Path(file.path) for file in find_videos([str(folder.absolute())]).files]
            every, none = extracted(paths, encoder, reuse=False)
            some, reused = extracted(paths, encoder, reuse=True)
            assert none == 0
            rows[folder.name] = row = compare(every, some, reused)
            least = f"{row['cosine_1st_percentile']:.4f} {row['least_cosine']:.4f}" if reused else "– –"
            print(
                f"{folder.name:16} {row['frames']:6} frames, {row['share_reused']:6.1%} reused, cosine (1st percentile "
                f"and least) {least}, segments {row['segments_every_frame']} → {row['segments']}",
                flush=True,
            )
            if folder == wanted.captioned:
                recall = averages(folder.absolute(), every, some, encoder)
                print(", ".join(f"average with {name}: {value:.2f}" for name, value in recall.items()))
    save("reuse", {"materials": rows, "average": recall})


if __name__ == "__main__":
    main()
