"""What comes next: recommenders behind one contract, and the ranker.

To add a model: one file with its config and class, one line here (or an entry point in a package of
your own), one test class that inherits the contract suite.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from serendip.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from serendip.models.base import Recommender

ENTRY_POINTS = "serendip.models"
"""Group of entry points by which other packages add models: name = "module:Class"."""

_CLASSES = {
    "popularity": "serendip.models.popularity:Popularity",
    "item-knn": "serendip.models.item_to_item:ItemKNN",
    "ease": "serendip.models.item_to_item:EASE",
    "item2vec": "serendip.models.item2vec:Item2Vec",
    "transitions": "serendip.models.transitions:Transitions",
    "content": "serendip.models.content_similarity:ContentSimilarity",
    "gru4rec": "serendip.models.sequence.model:GRU4Rec",
    "sasrec": "serendip.models.sequence.model:SASRec",
    "retriever": "serendip.models.retriever.model:Retriever",
    "retriever-groups": "serendip.models.retriever.model:RetrieverGroups",
    "blend": "serendip.models.blend.model:Blend",
}


def model_names() -> tuple[str, ...]:
    """Names of all models: those of this package, then those that other packages add."""
    return (*_CLASSES, *sorted(_added_models()))


def model_class(name: str) -> type[Recommender]:
    """The class of a model; only its own module is imported.

    Raises:
        ConfigError: no model has this name, or another package declares it wrongly.
    """
    if name in _CLASSES:
        module, class_name = _CLASSES[name].split(":")
        return cast("type[Recommender]", getattr(import_module(module), class_name))
    added = _added_models()
    if name not in added:
        raise ConfigError(f"no model is called {name!r}.", f"Known: {', '.join(model_names())}.")
    return _load_added(added[name])


def open_model(name: str, folder: Path) -> Recommender:
    """Open what a model of this name saved into ``folder``.

    Raises:
        ConfigError: no model has this name.
        ArtefactError: the folder holds no such model.
    """
    return model_class(name).open(folder)


def _added_models() -> dict[str, EntryPoint]:
    """Models of other packages; the names of this package cannot be replaced."""
    found = entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in found if point.name not in _CLASSES}


def _load_added(point: EntryPoint) -> type[Recommender]:
    """The class that an entry point names, checked."""
    from serendip.models.base import Recommender

    place = f"the entry point {point.name} = {point.value!r} of {ENTRY_POINTS}"
    try:
        kind: Any = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{place} cannot be loaded: {error}.", "Repair or remove the package that declares it."
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, Recommender)):
        raise ConfigError(f"{place} is not a Recommender.", "Derive its class from Recommender.")
    declared = ("name", "config_class", "label", "score_kind")
    missing = [part for part in declared if not hasattr(kind, part)]
    if missing:
        raise ConfigError(f"{place} does not declare {', '.join(missing)}.", "Set it on the class.")
    if kind.name != point.name:
        raise ConfigError(f"{place} has the name {kind.name!r}.", "Give both the same name.")
    return kind
