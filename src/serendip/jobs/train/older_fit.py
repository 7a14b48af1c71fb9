"""What the fit on the older part of the data leaves for later fits.

The models of the older part make the training rows of the ranker. Those that are trained by
gradients are not trained again from nothing: they continue on all data, which costs a fraction of
it (``Recommender.learned``). They can do so if content vectors mean the same in both fits: the
fusion of the modalities is kept unless the newer part has other modalities.

A generation keeps it in ``older/``: the fit on the older part of the next training continues from
it where ``warm_start`` allows. It has never seen what the ranker of that training learns from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.data.vocabulary import Vocabulary
from serendip.engine.state import EngineState
from serendip.errors import ArtefactError
from serendip.models.base import WarmStart

OLDER_FOLDER = "older"
"""Folder in a generation."""

_IDS, _CODEBOOKS, _FUSION = "ids", "codebooks.safetensors", "fusion.safetensors"
_LEARNED, _FACTS = "learned-{}.safetensors", "facts.json"


@dataclass(frozen=True, slots=True, eq=False)
class OlderFit:
    """The fit on the older part, without what needs much memory.

    Args:
        items: ids of its items.
        codebooks: from which new codebooks start.
        fusion: of its content.
        learned: name of a model -> arrays from which it continues; empty = it cannot.
        until: Unix seconds; it has seen the events before.
    """

    items: Vocabulary
    codebooks: Codebooks
    fusion: Fusion
    learned: Mapping[str, Mapping[str, NDArray[Any]]]
    until: float = np.inf

    @classmethod
    def of(cls, state: EngineState, until: float = np.inf) -> OlderFit:
        """Keep what later fits need of a state."""
        learned = {name: model.learned() for name, model in state.models.items()}
        return cls(state.catalogue.vocabulary, state.codebooks, state.fusion, learned, until)

    def start(self, name: str, items: Vocabulary, fusion: Fusion) -> WarmStart | None:
        """Start of a model on items with content of ``fusion``; None = from nothing."""
        if fusion is not self.fusion and (fusion.blocks or self.fusion.blocks):
            return None
        return WarmStart(self.learned.get(name, {}), self.items.numbers(items.ids))

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is created; learned numbers with half their precision.

        The next training moves them further than that.
        """
        from safetensors.numpy import save_file

        folder.mkdir()
        save_arrays(folder / _IDS, self.items.arrays())
        self.codebooks.save(folder / _CODEBOOKS)
        if self.fusion.blocks:
            self.fusion.save(folder / _FUSION)
        learned = {name: arrays for name, arrays in self.learned.items() if arrays}
        for name, arrays in learned.items():
            save_file({key: _halve(array) for key, array in arrays.items()}, _file(folder, name))
        facts = {"until": self.until, "learned": list(learned)}
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """Read what ``save`` wrote; None if there is nothing.

        Raises:
            ArtefactError: the files cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not folder.is_dir():
            return None
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            learned = {
                name: {key: _double(array) for key, array in load_file(_file(folder, name)).items()}
                for name in facts["learned"]
            }
            fused = folder / _FUSION
            return cls(
                Vocabulary.of_arrays(open_arrays(folder / _IDS)),
                Codebooks.open(folder / _CODEBOOKS),
                Fusion.open(fused) if fused.is_file() else TEXT_ONLY,
                learned,
                float(facts["until"]),
            )
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ArtefactError(f"{folder} has no readable fit: {error}.") from None


def _file(folder: Path, name: str) -> Path:
    return folder / _LEARNED.format(name)


def _halve(array: NDArray[Any]) -> NDArray[Any]:
    """Float32 as float16 if that holds its range."""
    is_wide = array.dtype != np.float32 or np.abs(array).max(initial=0.0) > np.finfo(np.float16).max
    return np.ascontiguousarray(array if is_wide else array.astype(np.float16))


def _double(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
