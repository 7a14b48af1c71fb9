"""The state of the older part in files: what other processes make the ranker's rows from.

Items of the newer part are kept beside it, with their features, and appended when it is opened, as
posted items are. The models are those that requests read: what is rounded when they are written is
rounded for the ranker, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
from numpy.typing import NDArray

from serendip.data.items.catalogue import Item
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.data.store.item_rows import list_items, tabulate_items
from serendip.engine.state import EngineState

_STATE, _ITEMS, _FEATURES = "state", "items.arrow", "features"


def save_state(
    state: EngineState, new_items: Sequence[Item], features: ItemFeatures | None, folder: Path
) -> None:
    """Write a state without a ranker, and items that are appended later, into a new folder.

    Args:
        state: fitted on the older part.
        new_items: of the newer part.
        features: of the new items; None without any.
        folder: created.
    """
    (folder / _STATE).mkdir(parents=True)
    state.save(folder / _STATE)
    if features is None:
        return
    feather.write_feather(tabulate_items(new_items), str(folder / _ITEMS), "uncompressed")
    arrays: dict[str, NDArray[Any]] = {"content": np.asarray(features.content)}
    arrays["codes"] = features.codes
    if features.present is not None:
        arrays["present"] = features.present
    if features.tokens is not None:
        arrays |= {"hashes": features.tokens.hashes, "starts": features.tokens.starts}
    save_arrays(folder / _FEATURES, arrays)


def open_state(folder: Path) -> EngineState:
    """Map what ``save_state`` wrote, with the new items.

    Raises:
        ArtefactError: a file is damaged.
    """
    state = EngineState.open(folder / _STATE)
    if not (folder / _ITEMS).is_file():
        return state
    table: pa.Table = feather.read_table(str(folder / _ITEMS))
    arrays = open_arrays(folder / _FEATURES)
    has_tokens = "hashes" in arrays
    features = ItemFeatures(
        arrays["content"],
        arrays["codes"],
        state.features.codebook_size,
        arrays.get("present"),
        Tokens(arrays["hashes"], arrays["starts"]) if has_tokens else None,
    )
    return state.with_items(list_items(table), features)
