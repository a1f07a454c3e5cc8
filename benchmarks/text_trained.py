"""Is a head trained from captions alone better than the untrained ranking? Trains all of them and measures.

    python benchmarks/text_trained.py --annotations FOLDER --fit FOLDER --judge FOLDER [--cache FOLDER]

``--annotations``: msvd_train_list.txt, msvd_captions.json and activitynet_train.json. ``--fit``: clips, some with
captions, that stand-ins are fitted to and that may veto a choice; none of their captions is trained on. ``--judge``:
captioned clips that decide, measured once, after the choice. ``--cache`` keeps features of captions and frames, and
trained heads: a run that was cut short goes on, and edited code wants another folder. The rule is in
docs/text-trained.md; figures go to results/text_trained.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from results import save
from text_trained import real
from text_trained.captions import encoded, read_scenes, split
from text_trained.measure import Corpus, measure
from text_trained.table import table
from text_trained.written import written_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--fit", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "wordframe-text-trained")
    wanted = parser.parse_args()
    fit = real.fitting_clips(wanted.fit, wanted.cache)
    written = written_scenes()
    scenes = read_scenes(wanted.annotations, left_out=real.msvd_names(wanted.fit))
    training, held = split(scenes)
    captions = encoded(scenes, wanted.cache / "captions")
    corpora = {
        "people": Corpus(captions, training),
        "held out": Corpus(captions, held),
        "written": Corpus(encoded(written, wanted.cache / "written"), np.arange(len(written))),
    }
    figures = measure(corpora, fit, wanted.judge, wanted.cache)
    save("text_trained", figures)
    print(table(figures["rows"]))
    for choice in ("chosen", "chosen_to_ship"):
        found = figures[choice]
        print(f"{choice}: {found['name']}; better by the rule: {'yes' if found['wins'] else 'no'}")


if __name__ == "__main__":
    main()
