"""Ranks of MSR-VTT's full test by TC-MGC: 59,800 captions × 2,990 videos at real lengths, in both directions.

    python benchmarks/full_test.py --captions msrvtt_full_test_captions.json --checkpoint FOLDER [--videos 300]

Text features are made when a tile wants them (random, of the captions' lengths; see ``scoring.py``), as an encoder
would, since all of them would not fit the memory. A run that is cut short goes on from its folder. ``--videos`` takes
the first videos and their captions; the time for all is then an extrapolation, and said to be one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from results import save
from rich.progress import Progress
from scoring import WORDS, caption_lengths, model_of, peak_mb, random_texts, random_videos
from torch import Tensor

from wordframe.evaluate import Checkpoint, streamed_ranks, tile_scorer
from wordframe.features import TextFeatures

CAPTIONS_PER_VIDEO = 20
ALL_VIDEOS = 2990
MAX_ROWS, MAX_COLUMNS = 640, 512


def main() -> None:
    """Rank, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="folder that keeps the state of the run")
    parser.add_argument("--videos", type=int, default=ALL_VIDEOS)
    parser.add_argument("--keep-rate", type=float, default=0.1)
    options = parser.parse_args()
    lengths = torch.tensor(caption_lengths(options.captions)[: options.videos * CAPTIONS_PER_VIDEO])
    owners = torch.arange(options.videos).repeat_interleave(CAPTIONS_PER_VIDEO)
    assert len(lengths) == len(owners), "the file holds fewer captions than --videos asks for"
    with torch.inference_mode():
        figures = measure(lengths, owners, options.videos, options.keep_rate, options.checkpoint)
    print(json.dumps(figures, indent=2))
    save("full_test" if options.videos == ALL_VIDEOS else "full_test_slice", figures)


def measure(
    lengths: Tensor, owners: Tensor, num_videos: int, keep_rate: float, folder: Path | None
) -> dict[str, float | bool]:
    """Time and memory of one run; a run that goes on from a checkpoint says how much of it was done before."""
    model, videos = model_of("tcmgc", keep_rate), random_videos(num_videos)

    def texts(rows: Tensor) -> TextFeatures:
        some = lengths[rows]
        return random_texts(some.tolist(), num_words=int(some.max()), seed=int(rows[0]))

    keeper = None
    if folder is not None:
        keeper = Checkpoint(folder, {"model": model.fingerprint, "videos": num_videos, "columns": MAX_COLUMNS})
    goes_on = keeper is not None and keeper.path.exists()
    progress: list[int] = []
    pairs = len(owners) * num_videos
    start = time.perf_counter()
    with Progress() as bar:
        task = bar.add_task("pairs", total=pairs)

        def show(done: int, total: int) -> None:
            progress.append(done)
            bar.update(task, completed=done)

        text_ranks, video_ranks = streamed_ranks(
            tile_scorer(model, texts, videos),
            owners,
            num_videos=num_videos,
            max_rows=MAX_ROWS,
            max_columns=MAX_COLUMNS,
            checkpoint=keeper,
            on_progress=show,
        )
    seconds = time.perf_counter() - start
    before = progress[0] if goes_on else 0
    if before == pairs:
        raise SystemExit(f"the run in {folder} was finished before, so there is no time to tell; choose another folder")
    rate = (pairs - before) / seconds
    return {
        "captions": len(owners),
        "videos": num_videos,
        "keep_rate": keep_rate,
        "positions_per_text": round(float(lengths.float().mean()), 2),
        "most_positions": WORDS,
        "pairs_from_checkpoint": before,
        "seconds": round(seconds, 1),
        "pairs_per_second": round(rate),
        "minutes_for_all": round(ALL_VIDEOS * CAPTIONS_PER_VIDEO * ALL_VIDEOS / rate / 60, 2),
        "extrapolated": num_videos < ALL_VIDEOS,
        "peak_mb": round(peak_mb()),
        "mean_rank_of_captions": round(float(text_ranks.float().mean()), 1),
        "mean_rank_of_videos": round(float(video_ranks.float().mean()), 1),
    }


if __name__ == "__main__":
    main()
