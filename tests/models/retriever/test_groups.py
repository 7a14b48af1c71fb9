import numpy as np
import pytest
from next_item_world import log_of

from serendip.config import validate
from serendip.data.dataset import QueryExamples
from serendip.data.query import RETRIEVAL_TASKS, Query, RetrievalTask, Task
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError
from serendip.models.retriever.batches import BatchBuilder, PackedLog, cut_rows
from serendip.models.retriever.config import (
    RetrieverConfig,
    RetrieverGroupsConfig,
    block_size,
    group_config,
)
from serendip.models.retriever.model import Retriever, RetrieverGroups
from serendip.runtime.progress import TrainOptions
from serendip.testing import LocalChangeContract, RecommenderContract, build_small_world

SMALL = RetrieverConfig(embedding_size=8, epochs=2, max_len=10, batch_size=64)
GROUPS = (("home", "similar"), ("search",))


class TestRetrieverGroups(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> RetrieverGroups:
        return RetrieverGroups(RetrieverGroupsConfig(groups=GROUPS, retriever=SMALL))


def test_every_query_is_answered_by_the_model_of_its_task() -> None:
    dataset, options = build_small_world(), TrainOptions(seed=5)
    together = TestRetrieverGroups.make().train(dataset, options)
    text, source = np.ones(16, np.float32), np.asarray([3], np.int32)
    asked: tuple[Task, ...] = ("home", "search", "similar", "cart")
    queries = [Query(one, text_vector=text, source_items=source) for one in asked]
    found = together.score_all(queries)
    others, search = (Retriever(group_config(SMALL, one)).train(dataset, options) for one in GROUPS)
    for row, query in enumerate(queries):
        alone = search if query.task == "search" else others
        np.testing.assert_allclose(found[row], alone.score_all([query])[0], rtol=0, atol=1e-5)


PARTS: list[tuple[RetrievalTask, ...]] = [
    ("home",),
    ("search",),
    ("similar",),
    ("home", "search"),
    ("home", "similar"),
    ("similar", "search"),
]


def drawn(config: RetrieverConfig) -> int:
    """Requests of a whole training on rows of full blocks, as they are drawn."""
    length = 2 * block_size(config.max_len)
    log = log_of([0] * length, range(length), range(length))
    queries = QueryExamples(["a"], np.zeros((1, 2), np.float32), np.zeros(1, np.int32))
    maker = BatchBuilder(PackedLog(log, np.ones(length, np.bool_)), queries, config)
    rows = cut_rows(maker.log, config.max_len, np.zeros(1, np.int64))
    return maker.batch(rows, np.random.default_rng(0)).task.size * config.epochs


@pytest.mark.parametrize("group", PARTS)
@pytest.mark.parametrize("sizes", [(4, 50, 6), (3, 50, 3), (8, 50, 4), (4, 20, 4)])
def test_a_group_draws_at_least_as_many_requests_as_the_model_of_all_tasks(
    group: tuple[RetrievalTask, ...], sizes: tuple[int, int, int]
) -> None:
    slots, max_len, epochs = sizes
    config = RetrieverConfig(slots=slots, max_len=max_len, epochs=epochs)
    own, whole = drawn(group_config(config, group)), drawn(group_config(config, RETRIEVAL_TASKS))
    assert whole <= own <= 1.4 * whole
    assert group_config(config, group).tasks == group


@pytest.mark.parametrize(
    "groups", [(), (("home",),), (("home", "search", "similar"), ("home",)), (RETRIEVAL_TASKS, ())]
)
def test_groups_must_be_a_split_of_the_tasks(groups: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ConfigError, match="must be in one group"):
        validate(Settings, {"unified": {"groups": groups}}, "serendip.toml")
