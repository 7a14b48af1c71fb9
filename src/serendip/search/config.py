"""``[search]``: settings of text search."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from serendip.config import Config
from serendip.search.lexical import LexicalConfig

Probability = Annotated[float, Field(ge=0, le=1)]


class SearchConfig(Config):
    """Settings of text search."""

    lexical: LexicalConfig = Field(default_factory=LexicalConfig)
    """Fields and weights of the lexical index."""

    depth: PositiveInt = 300
    """Number of items taken from each list before rank fusion."""

    word_weight: NonNegativeFloat = 1.0
    """Weight of the BM25 list in the fusion."""

    title_weight: NonNegativeFloat = 1.0
    """Weight of the list of title completions in the fusion."""

    correct_from: Probability = 0.9
    """Minimum confidence to search the correction of a misspelt text; below it, the correction is
    only suggested."""

    correct_unknown_from: Probability = 0.33
    """The same of a string that is no word of an item or of the language, unless a word beside it
    speaks against the correction, and if no item has any of the words but function words: as typed
    it would find nothing."""

    suggest_from: Probability = 0.1
    """Minimum confidence to suggest a correction ("did you mean")."""

    offer_from: Probability = 0.5
    """Minimum confidence to offer a rewrite for a query with few matches. At the default, the
    rewrite more likely than not finds a relevant item, and no fewer than the query itself."""
