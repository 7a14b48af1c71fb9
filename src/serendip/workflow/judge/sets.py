"""Which gold a folder holds, told by its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serendip.errors import ConfigError, DataError
from serendip.models.relevance.features import ItemTexts, QueryTexts
from serendip.workflow.judge.gold import Gold, GoldPairs, GoldTexts, ListedGold
from serendip.workflow.judge.onet import ONET_FILES, onet_pairs, read_onet
from serendip.workflow.judge.onet_lists import onet_lists
from serendip.workflow.judge.products import (
    PRODUCTS_FILES,
    judged_products_lists,
    read_judged_products,
)

Draw = Callable[[QueryTexts, ItemTexts], GoldPairs]


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Gold before anything is encoded.

    Args:
        texts: of queries and items.
        pairs: texts with their vectors -> judged pairs.
        lists: gold -> lists to filter.
        files: everything that was read.
    """

    texts: GoldTexts
    pairs: Draw
    lists: Callable[[Gold], ListedGold]
    files: tuple[Path, ...]


def gold_set(folder: Path, test: Path | None) -> GoldSet:
    """The gold of a folder.

    Args:
        folder: of products and judgements, or of O*NET.
        test: a second file of judgements, which is only ever judged on; None = there is none.

    Raises:
        ConfigError: the folder has no use for ``test``.
        DataError: the folder holds no gold, or a file is broken.
    """
    if _holds(folder, ONET_FILES):
        if test is not None:
            raise ConfigError(f"--test {test} beside O*NET.", "Its judged part is its own.")
        onet = read_onet(folder)
        files = tuple(folder / name for name in ONET_FILES)
        return GoldSet(
            onet.texts,
            lambda queries, items: onet_pairs(onet, queries, items),
            lambda gold: onet_lists(onet, gold),
            files,
        )
    if _holds(folder, PRODUCTS_FILES):
        texts, pairs = read_judged_products(folder, test)
        files = (*(folder / name for name in PRODUCTS_FILES), *([test] if test else []))
        return GoldSet(texts, lambda queries, items: pairs, judged_products_lists, files)
    kinds = " or ".join(" and ".join(names) for names in (PRODUCTS_FILES, ONET_FILES))
    raise DataError(f"{folder} holds no judged pairs.", f"Known are folders with {kinds}.")


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)
