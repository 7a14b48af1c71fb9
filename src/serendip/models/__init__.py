"""Models: recommenders with one contract, the unified ranker, and the registry of recommenders.

To add a recommender: one file with its config and class, one line here (or an entry point in your
own package), and one test class that inherits the contract suite. A family of several files is a
folder; ``vector_index`` searches item vectors, ``sparse`` has the rows of item-to-item models.
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
"""Entry point group through which other packages add models: name = "module:Class"."""

_CLASSES = {
    "popularity": "serendip.models.popularity:Popularity",
    "item-knn": "serendip.models.item_to_item:ItemKNN",
    "ease": "serendip.models.item_to_item:EASE",
    "item2vec": "serendip.models.item2vec:Item2Vec",
    "transitions": "serendip.models.item_to_item:Transitions",
    "content": "serendip.models.content_similarity:ContentSimilarity",
    "gru4rec": "serendip.models.sequence.model:GRU4Rec",
    "sasrec": "serendip.models.sequence.model:SASRec",
    "retriever": "serendip.models.retriever.model:Retriever",
    "retriever-groups": "serendip.models.retriever.model:RetrieverGroups",
}


def model_names() -> tuple[str, ...]:
    """List the names of all models: those of this package, then those of other packages."""
    return (*_CLASSES, *sorted(_added_models()))


def model_class(name: str) -> type[Recommender]:
    """Import the class of a model, and no other model.

    Raises:
        ConfigError: no model has this name, or the package that adds it declares it incorrectly.
    """
    if name in _CLASSES:
        module, class_name = _CLASSES[name].split(":")
        return cast("type[Recommender]", getattr(import_module(module), class_name))
    added = _added_models()
    if name not in added:
        raise ConfigError(f"no model is called {name!r}.", f"Known: {', '.join(model_names())}.")
    return _load_added(added[name])


def open_model(name: str, folder: Path) -> Recommender:
    """Load a saved model of this name from ``folder``.

    Raises:
        ConfigError: no model has this name.
        ArtefactError: the folder has no readable model of this name.
    """
    return model_class(name).open(folder)


def _added_models() -> dict[str, EntryPoint]:
    points = entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in points if point.name not in _CLASSES}


def _load_added(point: EntryPoint) -> type[Recommender]:
    """Load and check the model class that an entry point names.

    Raises:
        ConfigError: it cannot be imported, or is not a complete ``Recommender``.
    """
    from serendip.models.base import Recommender

    entry = f"the entry point {point.name} = {point.value!r} of {ENTRY_POINTS}"
    try:
        added_class: Any = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{entry} cannot be loaded: {error}.", "Repair or remove the package that declares it."
        ) from None
    if not (isinstance(added_class, type) and issubclass(added_class, Recommender)):
        raise ConfigError(f"{entry} is not a Recommender.", "Derive its class from Recommender.")
    attributes = ("name", "config_class", "label", "score_kind")
    missing = [attribute for attribute in attributes if not hasattr(added_class, attribute)]
    if missing:
        raise ConfigError(f"{entry} does not declare {', '.join(missing)}.", "Set it on the class.")
    if added_class.name != point.name:
        raise ConfigError(f"{entry} has the name {added_class.name!r}.", "Give both the same name.")
    return added_class
