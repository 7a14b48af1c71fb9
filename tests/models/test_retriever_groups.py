from __future__ import annotations

import numpy as np
import pytest
from contract import LocalChangeContract, RecommenderContract, small_world

from serendip.config import validate
from serendip.data.query import Query, Surface
from serendip.engine.settings import Settings
from serendip.errors import ConfigError
from serendip.models.retriever import Retriever
from serendip.models.retriever_config import RetrieverConfig, Task
from serendip.models.retriever_groups import RetrieverGroups
from serendip.models.retriever_groups_config import (
    ALL_TASKS,
    RetrieverGroupsConfig,
    group_config,
)
from serendip.scale.options import TrainOptions

SMALL = RetrieverConfig(embedding_size=8, epochs=2, max_len=10, batch_size=64)
GROUPS = (("home", "similar"), ("search",))


class TestRetrieverGroups(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> RetrieverGroups:
        return RetrieverGroups(RetrieverGroupsConfig(groups=GROUPS, retriever=SMALL))


def test_every_query_is_answered_by_the_model_of_its_task() -> None:
    dataset, options = small_world(), TrainOptions(seed=5)
    together = TestRetrieverGroups.make().train(dataset, options)
    text, source = np.ones(16, np.float32), np.asarray([3], np.int32)
    surfaces: tuple[Surface, ...] = ("home", "search", "similar", "cart", "suggest", "digest")
    queries = [Query(one, text_vector=text, source_items=source) for one in surfaces]
    found = together.score_all(queries)
    for row, query in enumerate(queries):
        group = ("search",) if query.surface in {"search", "suggest"} else ("home", "similar")
        alone = Retriever(group_config(SMALL, group)).train(dataset, options)
        np.testing.assert_allclose(found[row], alone.score_all([query])[0], rtol=0, atol=1e-5)


SOME_GROUPS: list[tuple[Task, ...]] = [
    ("home",),
    ("search",),
    ("home", "search"),
    ("home", "similar"),
]


@pytest.mark.parametrize(
    ("group", "requests", "epochs"),
    [
        (ALL_TASKS, 12, 6),
        (("home",), 0, 9),
        (("search",), 16, 6),
        (("similar",), 16, 6),
        (("home", "search"), 12, 6),
        (("home", "similar"), 12, 6),
        (("similar", "search"), 18, 6),
    ],
)
def test_a_group_asks_at_least_as_much_as_the_model_of_all_tasks(
    group: tuple[Task, ...], requests: int, epochs: int
) -> None:
    config = group_config(RetrieverConfig(slots=4, epochs=6), group)
    per_slot = {"home": 0, "similar": 1, "search": 2}  # As ``BatchMaker`` draws them.
    assert config.tasks == group
    assert config.epochs == epochs
    if group != ("home",):
        assert config.slots * sum(per_slot[task] for task in group) == requests


@pytest.mark.parametrize("group", [ALL_TASKS, *SOME_GROUPS])
def test_a_group_has_vectors_as_long_as_the_model_of_all_tasks(group: tuple[Task, ...]) -> None:
    config = group_config(RetrieverConfig(embedding_size=64, words_size=32), group)
    has_parts = "search" in group and len(group) > 1
    assert config.embedding_size + config.words_size * has_parts == 96


@pytest.mark.parametrize(
    "groups", [(), (("home",),), (("home", "search", "similar"), ("home",)), (ALL_TASKS, ())]
)
def test_groups_must_be_a_split_of_the_tasks(groups: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ConfigError, match="must be in one group"):
        validate(Settings, {"unified": {"groups": groups}}, "serendip.toml")


def test_the_split_is_a_setting() -> None:
    settings = Settings()
    assert settings.models.build(settings.unified)["retriever"].name == "retriever"
    split = validate(Settings, {"unified": {"groups": GROUPS}}, "serendip.toml")
    models = retriever_of(split)
    assert models.config == RetrieverGroupsConfig(groups=GROUPS)


def retriever_of(settings: Settings) -> RetrieverGroups:
    """The model that answers for the retriever."""
    model = settings.models.build(settings.unified)["retriever"]
    assert isinstance(model, RetrieverGroups)
    return model
