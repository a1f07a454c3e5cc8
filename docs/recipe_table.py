"""The table of the shipped recipes, each value with its source, made of the recipes' own files.

``make recipe-table`` writes it into docs/recipes.md; a test holds it, so that table and recipes cannot part.
A source is what a recipe says at the end of a value's line. Ablations are listed in the recipes' README alone.
"""

from __future__ import annotations

from pathlib import Path

from wordframe.train import Recipe, load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "src" / "wordframe" / "recipes"
FILE = ROOT / "docs" / "recipes.md"
_TOP = """# The recipes and their sources

Made by `make recipe-table` of the files in [`src/wordframe/recipes`](../src/wordframe/recipes/README.md). Behind a value
stands where it is from: the paper, the authors' script or README, or ours where their value is not known to us. Published is
text→video R@1 as the paper reports it, without post-processing; none of it was reproduced by us yet.

| recipe | published | CLIP | words, frames | pairs a batch | epochs |
|---|---|---|---|---|---|
"""


def sources(file: Path) -> dict[str, str]:
    """What a recipe's lines say at their ends, by the key on the line."""
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        value, has_source, source = line.partition("  # ")
        if has_source and not line.startswith("#"):
            found[value.split(":")[0].strip()] = source
    return found


def row(recipe: Recipe, file: Path) -> str:
    told = sources(file)
    published = ", ".join(f"{number} {benchmark}" for benchmark, number in recipe.published.items())
    sizes = f"{recipe.settings.max_words}, {recipe.settings.max_frames}"
    # a preset of the right size says so in its own line: "paper; 32 words, 12 frames: paper"
    sizes_source = told.get("max_frames") or told.get("model", "").rpartition("frames: ")[2]
    backbone = "" if recipe.backbone is None else recipe.backbone.name.removeprefix("openai/clip-")
    cells = [
        f"`{recipe.name}`",
        _with(published or "–", told.get("published")),
        _with(backbone, told.get("backbone")),
        _with(sizes, sizes_source),
        _with(str(recipe.batch_size), told.get("batch_size")),
        _with(f"{recipe.epochs:g}", told.get("epochs")),
    ]
    return f"| {' | '.join(cells)} |\n"


def text() -> str:
    # by its path and not by its name: the table is of these files
    return _TOP + "".join(row(load_recipe(file), file) for file in sorted(RECIPES.glob("*.yaml")))


def _with(value: str, source: str | None) -> str:
    return f"{value} ({source})" if source else value


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{len(sorted(RECIPES.glob('*.yaml')))} recipes in {FILE.relative_to(ROOT)}")
