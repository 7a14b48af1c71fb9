import numpy as np
import pytest
from data_world import LOGS, dataset_of
from hypothesis import given

from serendip.data.dataset import AlignedProjection
from serendip.data.items.features import ItemFeatures
from serendip.errors import DataError


@given(LOGS)
def test_histories_are_the_events_of_each_user_in_order(rows):
    data = dataset_of(rows)
    log = sorted(rows, key=lambda row: row[2])
    for user in range(data.num_users):
        found = data.history(user)
        own = [row for row in log if row[0] == data.users.id(user)]
        assert data.catalogue.vocabulary.ids_of(found.item_nums) == [row[1] for row in own]
        assert found.timestamps.tolist() == [row[2] for row in own]
        assert found.liked.tolist() == [row[1] in "abc" for row in own]


def test_an_alignment_of_other_content_is_refused():
    alignment = AlignedProjection(np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float32))
    bare = dataset_of([("u", "a", 1)])
    content = np.zeros((bare.num_items, 5), np.float32)
    codes = np.zeros((bare.num_items, 0), np.int32)
    for data, size in ((bare, 0), (bare.with_features(ItemFeatures(content, codes, 1)), 5)):
        with pytest.raises(DataError, match=f"of size 3; they have size {size}"):
            data.with_alignment(alignment)
