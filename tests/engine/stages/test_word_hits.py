from dataclasses import replace

import numpy as np

from serendip.data import AllowedItems, Catalogue, ItemList, Query
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


def test_an_item_of_a_title_alone_is_found_by_its_words_and_not_by_its_meaning(
    reader: Engine,
) -> None:
    state, surface = reader.state, reader.settings.all_surfaces()["search"]
    told = [replace(item, description="of iron") for item in state.catalogue.items]
    bare = replace(told[3], description="")
    state = replace(state, catalogue=Catalogue([*told[:3], bare, *told[4:]]))
    near = ItemList(np.array([3, 4, 5], np.int32), np.ones(3, np.float32))
    vector = np.asarray(state.features.content[3], np.float32)  # nothing is nearer than item 3
    query = Query("search", "tale", text_vector=vector)
    batch = Batch.of([query], surface, state, [AllowedItems.all(state.num_items)])
    assert batch.keep_close([near])[0].item_nums.tolist() == [4, 5]
    hit = ItemList(np.array([3], np.int32), np.ones(1, np.float32))
    batch.hits = [hit]
    assert 3 in batch.keep_close([near])[0].item_nums
