"""Items that come after training: encoded, coded and taken into a state; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serendip.content.config import ContentConfig
from serendip.content.encoders.base import TextEncoder
from serendip.content.features import encode_new, reads_alike
from serendip.data.arrays import IntArray
from serendip.data.item import Item
from serendip.data.item_features import ItemFeatures, TokenReader
from serendip.engine.state import EngineState


@dataclass(frozen=True, slots=True)
class Updater:
    """Makes the state after items were posted.

    Args:
        encoder: reads the items' words.
        content: which fields are read.
        tokens: what is read as words and attributes, whether or not the settings still ask for a
            table of them: the generation that is served may have one.
    """

    encoder: TextEncoder
    content: ContentConfig
    tokens: TokenReader

    def state_with(self, items: Sequence[Item], state: EngineState) -> EngineState:
        """New items appended, known ones replaced in place; deleted ones come back."""
        vocabulary = state.catalogue.vocabulary
        known = [item for item in items if item.item_id in vocabulary]
        fresh = [item for item in items if item.item_id not in vocabulary]
        if known:
            numbers = vocabulary.numbers(item.item_id for item in known)
            features = self._features_again(numbers, known, state)
            state = state.with_changed_items(numbers, known, features).with_hidden(numbers, False)
        return state.with_items(fresh, self._features(fresh, state)) if fresh else state

    def _features(self, items: Sequence[Item], state: EngineState) -> ItemFeatures:
        fields = self.content.fields
        features = encode_new(items, self.encoder, state.codebooks, fields, state.fusion)
        return features.read_by(self.tokens, items)

    def _features_again(
        self, numbers: IntArray, items: Sequence[Item], state: EngineState
    ) -> ItemFeatures:
        """Features of known items posted again; those that name the same files keep theirs.

        Without that, a new price would cost an item its picture until the next training.
        """
        new = self._features(items, state)
        if not state.fusion.blocks:
            return new
        before = [state.catalogue[int(number)] for number in numbers]
        read = (*self.content.fields, *self.content.media_fields)
        same = reads_alike(before, items, read)
        kept = new.with_rows(same, state.features.rows(numbers[same]))
        return replace(kept, tokens=new.tokens)
