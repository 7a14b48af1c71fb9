"""Labels for people: whatever an answer names has one, declared where it is made."""

from pathlib import Path

import pytest

from serendip.engine.config.models import ModelsConfig
from serendip.engine.engine import Engine
from serendip.engine.explanations.labels import Labels
from serendip.engine.feature_names import CONTEXT_FEATURES, feature_names
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import MinValueConfig, RelevanceFilterConfig
from serendip.engine.stages.list_rules import (
    SPONSORED,
    DiversityConfig,
    ExplorationConfig,
    SponsoredConfig,
)
from serendip.engine.stages.selection import SurfaceStages
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, SurfaceConfig
from serendip.models.retriever.config import UnifiedConfig

MODELS = ModelsConfig().build(UnifiedConfig())
CONTEXT = [name for names in CONTEXT_FEATURES.values() for name in names]
FEATURES = (*feature_names(MODELS), *CONTEXT)
EVERYTHING = SurfaceConfig(
    task="search",
    sources={name: 10 for name in (*MODELS, *OWN_SOURCES)},
    filters=("seen", "genres=Comedy"),
    diversity=DiversityConfig(),
    exploration=ExplorationConfig(),
    sponsored=SponsoredConfig(),
    min_value=MinValueConfig(),
    relevance_filter=RelevanceFilterConfig(),
)
"""A surface with every stage."""

LABELS = Labels.of(MODELS, {**DEFAULT_SURFACES, "all": EVERYTHING})


def test_an_attribute_of_users_is_named_in_its_label():
    assert LABELS.number("user plan fit") == "Chosen by users of the same plan more than by others"


def test_every_feature_of_the_ranker_has_a_label_of_its_own():
    labels = {LABELS.number(name) for name in FEATURES}
    assert len(labels) == len(FEATURES)
    assert not labels & set(FEATURES)


@pytest.mark.parametrize("stage", list(SurfaceStages.of(EVERYTHING)), ids=lambda one: one.name)
def test_every_stage_declares_labels(stage):
    assert stage.name
    assert stage.label
    for key in stage.trace_labels:
        label = LABELS.stage(key)
        assert label[0].isupper()
        assert label.casefold() not in (key, stage.name)
    for number in stage.numbers:
        assert LABELS.number(number).casefold() != number


def test_every_name_in_real_answers_has_a_label(shop: Path):
    settings = shop / "serendip.toml"
    tables = (
        "diversity = {}, exploration = {share = 0.5}, sponsored = {positions = [1]}, "
        "min_value = {min_items = 1, threshold = 0.0, k = 9}"
    )
    settings.write_text(settings.read_text() + f"\n[surfaces]\nhome = {{{tables}}}\n")
    engine = Engine.open(shop)
    labels = engine.labels
    for surface in DEFAULT_SURFACES:
        request = Request(surface, "u0", text="horror tale", item_ids=("i2",), parts=True)
        assert set(engine.explain(request, "i1").trace) <= set(labels.trace)
        for item in engine.recommend(request).items:
            names = {name for name in item.parts if not name.startswith("P(")}
            assert names - {SPONSORED} <= set(labels.numbers)
    trace = engine.explain(Request("home", "u0"), "i1").trace
    assert {"after min value", "sent", "explored", "sponsored", "moved by diversity"} <= set(trace)
    engine.close()


def test_a_label_says_what_the_number_counts():
    assert LABELS.number("transitions") == "Chosen next (score)"
    assert LABELS.number("retriever relative") == "Unified model, distance to its best"
    assert LABELS.number("P(irrelevant)") == "Probability of being irrelevant"
    assert LABELS.stage("after seen") == "Not seen yet"
    assert LABELS.stage("after genres=Comedy") == "Where genres=Comedy"
    assert LABELS.stage("from words") == "From the words"
    assert LABELS.stage("after relevance filter") == "Left without irrelevant items"
    assert LABELS.stage("relevance checked") == "Checked for relevance"
    assert LABELS.component("relevance filter") == "the check for relevance"
