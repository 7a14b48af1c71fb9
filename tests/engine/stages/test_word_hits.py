"""Hits of the words are compared with what the index of a model found."""

from dataclasses import replace

import numpy as np

from serendip.data import AllowedItems, ItemList, Query
from serendip.engine.engine import Engine
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.sources import ModelSource


def test_a_hit_that_the_index_missed_takes_its_place(reader: Engine) -> None:
    state, surface = reader.state, reader.settings.all_surfaces()["home"]
    query = Query(source_items=np.array([3], np.int32))
    allowed = AllowedItems.all(state.num_items).without(np.array([3], np.int32))
    batch = Batch.of([query], surface, state, [allowed])
    (whole,) = ModelSource("retriever").retrieve(batch, 20)
    missed, found = whole.item_nums[[0, 2]], whole.take(np.array([1, 3, 4]))
    batch.hits = [ItemList(np.append(missed, np.int32(3)), np.ones(3, np.float32))]
    best = ModelSource("retriever")._add_hits(batch, 0, found, batch.hits[0].item_nums, 4)
    assert best.item_nums.tolist() == whole.item_nums[:4].tolist()
    nothing = replace(found, item_nums=found.item_nums[:0], scores=found.scores[:0])
    assert not len(ModelSource("retriever")._add_hits(batch, 0, nothing, missed, 4))
