"""How a text becomes one list: the settings of search."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from serendip.config import Config
from serendip.search.lexical import LexicalConfig
from serendip.search.understanding import Confidence

Probability = Annotated[float, Field(ge=0, le=1)]


class SearchConfig(Config):
    """How a text becomes one list."""

    lexical: LexicalConfig = Field(default_factory=LexicalConfig)
    """Fields and weights of the word index."""

    depth: PositiveInt = 300
    """Items taken from each list before they are joined."""

    word_weight: NonNegativeFloat = 1.0
    """Weight of the BM25 list in the fusion."""

    title_weight: NonNegativeFloat = 1.0
    """Weight of the list of titles that go on from the text."""

    correct_from: Probability = 0.9
    """Confidence from which on a misspelt text is searched as it was probably meant; below it, what
    may have been meant is only told."""

    correct_unknown_from: Probability = 0.33
    """The same where no item has any of the words, so that searching them would find nothing."""

    tell_from: Probability = 0.1
    """Confidence from which on it is told what may have been meant."""

    offer_from: Probability = 0.5
    """Confidence from which on another text is offered for one that few items answer: more likely
    than not it finds something that was meant, and no less of it."""

    recover_from: Probability = 1.0
    """Confidence from which on it is searched instead, where no item has all words of the text; 1 =
    never, as no gain has been shown (docs/results/search.md). What is not offered is not searched
    either: below ``offer_from`` it is as high as that."""

    @property
    def confidence(self) -> Confidence:
        """From which confidence on a correction is made."""
        return Confidence(self.correct_from, self.correct_unknown_from, self.tell_from)
