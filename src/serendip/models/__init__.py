"""What comes next: recommenders behind one contract, and the ranker.

To add a model: one file with its config and class, one line here, one test class that inherits
the contract suite.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from serendip.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from serendip.models.base import Recommender

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


def model_class(name: str) -> type[Recommender]:
    """The class of a model; only its own module is imported.

    Raises:
        ConfigError: no model has this name.
    """
    if name not in _CLASSES:
        raise ConfigError(f"no model is called {name!r}.", f"Known: {', '.join(_CLASSES)}.")
    module, class_name = _CLASSES[name].split(":")
    return cast("type[Recommender]", getattr(import_module(module), class_name))


def open_model(name: str, folder: Path) -> Recommender:
    """Open what a model of this name saved into ``folder``.

    Raises:
        ConfigError: no model has this name.
        ArtefactError: the folder holds no such model.
    """
    return model_class(name).open(folder)
