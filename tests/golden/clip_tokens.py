"""Makes ``clip_tokens.json`` again: ``pip install --no-deps open_clip_torch && python -m tests.golden.clip_tokens``.

Ids are what open_clip's SimpleTokenizer, OpenAI's code, gives with CLIP's whole vocabulary. Beside them are kept the
tokens and merges that these captions need. A byte-pair tokenizer always applies the earliest merge that fits, so one
without the merges that were never applied goes the same way.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("clip_tokens.json")


def needed(tokenizer: Any, token: str) -> tuple[set[str], set[tuple[str, str]]]:
    """The tokens and merges on the way of one word (in CLIP's letters for bytes) to its byte pairs."""
    word = [*token[:-1], f"{token[-1]}</w>"]
    tokens, merges = set(word), set[tuple[str, str]]()
    while pairs := [pair for pair in itertools.pairwise(word) if pair in tokenizer.bpe_ranks]:
        best = min(pairs, key=tokenizer.bpe_ranks.__getitem__)
        merges.add(best)
        joined: list[str] = []
        for part in word:
            if joined and (joined[-1], part) == best:  # from the left; what is merged is no longer its own first half
                joined[-1] += part
            else:
                joined.append(part)
        word = joined
        tokens |= set(word)
    assert " ".join(word) == tokenizer.bpe(token), token
    return tokens, merges


def main() -> None:
    import regex
    from open_clip.tokenizer import SimpleTokenizer, _clean_lower

    captions = [caption for caption, _ in json.loads(FILE.read_text(encoding="utf-8"))["captions"]]
    tokenizer = SimpleTokenizer()
    tokens, merges = set[str](), set[tuple[str, str]]()
    for caption in captions:
        for word in regex.findall(tokenizer.pat, _clean_lower(caption)):
            found = needed(tokenizer, "".join(tokenizer.byte_encoder[byte] for byte in word.encode()))
            tokens, merges = tokens | found[0], merges | found[1]
    ends = [tokenizer.sot_token_id, tokenizer.eot_token_id]
    content = {
        "vocab": {token: tokenizer.encoder[token] for token in sorted(tokens, key=tokenizer.encoder.__getitem__)}
        | dict(zip(("<|startoftext|>", "<|endoftext|>"), ends, strict=True)),  # as transformers calls them
        "merges": sorted(merges, key=tokenizer.bpe_ranks.__getitem__),
        "captions": [[caption, [ends[0], *tokenizer.encode(caption), ends[1]]] for caption in captions],
    }
    FILE.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
