"""Words and vectors of items as files: ``item_texts.safetensors`` and ``item_words.json``.

Vectors are what most of it is; words are lists of strings, and sets of them numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.errors import ArtefactError
from serendip.models.pair_features import ItemTexts
from serendip.models.word_overlap import Bags, WordOverlap

_ARRAYS_FILE, _WORDS_FILE = "item_texts.safetensors", "item_words.json"
_VECTORS = ("views", "directions", "passages", "starts")
FORMAT = 2
_KINDS = ("words", "beginnings", "letters")


def save_item_texts(items: ItemTexts, folder: Path) -> None:
    """Write them into a folder (created)."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, NDArray[Any]] = {name: getattr(items, name) for name in _VECTORS}
    overlaps = {name: getattr(items, name) for name in _KINDS}
    for name, overlap in overlaps.items():
        parts |= {f"{name}.{part}": array for part, array in _arrays(overlap).items()}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in parts.items()}, folder / _ARRAYS_FILE
    )
    words = {name: list(overlap.numbers) for name, overlap in overlaps.items()}
    document = {"format": FORMAT, **words}
    (folder / _WORDS_FILE).write_text(json.dumps(document), encoding="utf-8")


def open_item_texts(folder: Path) -> ItemTexts:
    """Read what ``save_item_texts`` wrote.

    Raises:
        ArtefactError: a file is missing or torn, or made by other code.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        parts = load_file(folder / _ARRAYS_FILE)
        words = json.loads((folder / _WORDS_FILE).read_text(encoding="utf-8"))
        if words.get("format") != FORMAT:
            raise ValueError(f"format {words.get('format')!r}")
        views, directions, passages, starts = (parts[name] for name in _VECTORS)
        kinds = (_overlap(words[name], parts, name, len(starts) - 1) for name in _KINDS)
        return ItemTexts(views, directions, passages, starts, *kinds)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        message = f"{folder} holds no readable texts of items: {error}."
        raise ArtefactError(message, "Run `serendip train`.") from None


def _arrays(overlap: WordOverlap) -> dict[str, NDArray[Any]]:
    return {
        "rarity": overlap.rarity,
        "titles": overlap.titles.words,
        "title starts": overlap.titles.starts,
        "having": overlap.having.words,
        "having starts": overlap.having.starts,
    }


def _overlap(
    words: list[str], parts: Mapping[str, NDArray[Any]], name: str, count: int
) -> WordOverlap:
    titles = Bags(parts[f"{name}.titles"], parts[f"{name}.title starts"])
    having = Bags(parts[f"{name}.having"], parts[f"{name}.having starts"])
    numbers = {word: place for place, word in enumerate(words)}
    return WordOverlap(numbers, parts[f"{name}.rarity"], float(np.log(count + 1)), titles, having)
