"""Names of the ranker's features, in the order of its columns, with their labels for people.

Most features come from the configured models: the score of a model, and the same score relative to
the best item of the catalogue (see ``SCORED_KINDS``). The names are saved with every ranker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serendip.models.base import Recommender, ScoreKind
from serendip.models.context_counts import ITEM_COUNTRIES, OF_USER, ContextCounts, part_of_field

OTHER_FEATURES: Mapping[str, str] = {
    "last item cosine": "Similarity to the last item",
    "query cosine": "Similarity to the words in meaning",
    "bm25": "Words found (BM25)",
    "title match": "Title matches the words",
    "log popularity": "Popularity (log)",
    "log recent popularity": "Recent popularity (log)",
    "quality": "Quality",
    "best code match": "Levels shared with the nearest item",
    "mean code match": "Levels shared on average",
    "log history length": "Length of the history (log)",
    "liked share": "Share of likes in the history",
}  # those that are not scores of a model: name -> label
CONTEXT_FEATURES: Mapping[str, Mapping[str, str]] = {
    "country": {
        "country fit": "Chosen in this country more than elsewhere",
        "log country popularity": "Popularity in the country (log)",
    },
    "device": {"device fit": "Chosen on this device more than elsewhere"},
    "hour": {"hour fit": "Chosen at this hour more than else"},
    "weekday": {"weekday fit": "Chosen on this weekday more than else"},
    ITEM_COUNTRIES: {"item of the country": "Of the country of the request"},
    "session": {
        "log session length": "Length of the session (log)",
        "session cosine": "Similarity to the session",
        "earlier past cosine": "Similarity to the past before the session",
    },
    "category": {"category share": "Share of its category in the history"},
    "price": {
        "log price": "Price (log)",
        "log price above usual": "Price above the user's usual (log)",
    },
    "age": {"log age": "Age (log)"},
}  # part of the context -> its features: name -> label
_FIT = " fit"
# Where items may come again.
REPEAT_FEATURES: Mapping[str, str] = {"log times chosen": "Times chosen before (log)"}
# Of models whose scores are features, in the order of the columns.
SCORED_KINDS: tuple[ScoreKind, ...] = ("count", "similarity")
# Within their kind; the others follow in the order of the settings.
_FIRST = ("transitions", "item-knn", "retriever", "content")


def models_of_kind(models: Mapping[str, Recommender], kind: ScoreKind) -> list[str]:
    """Names of the models of a score kind, in the order of their columns."""
    names = [name for name in _FIRST if name in models]
    names += [name for name in models if name not in _FIRST]
    return [name for name in names if models[name].score_kind == kind]


def feature_names(
    models: Mapping[str, Recommender],
    with_repeats: bool = False,
    context: ContextCounts | None = None,
) -> tuple[str, ...]:
    """Names of the columns of a feature matrix (R, F).

    Models are in the order of the settings; without ``context`` nothing is known of contexts.
    """
    names: list[str] = []
    for kind in SCORED_KINDS:
        of_kind = models_of_kind(models, kind)
        names += [*of_kind, *map(relative_name, of_kind)]
    repeats = REPEAT_FEATURES if with_repeats else ()
    of_context = () if context is None else context_feature_names(context)
    return (*names, *OTHER_FEATURES, *repeats, *of_context)


def context_feature_names(context: ContextCounts) -> tuple[str, ...]:
    """Names of the features of the context that the data have."""
    has = {*context.fields, *context.parts}
    fixed = (name for part, names in CONTEXT_FEATURES.items() if part in has for name in names)
    of_users = sorted(name for name in context.fields if name.startswith(OF_USER))
    return (*fixed, *map(fit_name, of_users))


def fit_name(field: str) -> str:
    """Name of the feature that tells how much more an item is chosen with a value of a field."""
    return f"{field}{_FIT}"


def label_of_user_feature(name: str) -> str:
    """Label of the feature of an attribute of users; any other name stands for itself."""
    if not name.startswith(OF_USER):
        return name
    attribute = name.removeprefix(OF_USER).removesuffix(_FIT)
    return f"Chosen by users of the same {attribute} more than by others"


def context_parts(names: Sequence[str]) -> frozenset[str]:
    """Fields and parts of the context that some features are of."""
    return frozenset(filter(None, map(_field_of, names)))


def part_of(feature: str) -> str:
    """The part of the context that a feature is of; empty = of none."""
    return part_of_field(_field_of(feature))


def _field_of(feature: str) -> str:
    if feature.startswith(OF_USER):
        return feature.removesuffix(_FIT)
    return next((part for part, own in CONTEXT_FEATURES.items() if feature in own), "")


def relative_name(model: str) -> str:
    """Name of the feature that compares a model's score with its best score for the query."""
    return f"{model} relative"
