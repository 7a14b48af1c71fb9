"""A dataset in files that are memory-mapped: how another process of the same machine gets it.

Only what a snapshot has is written: features, query examples and whatever else is computed from it
are not. A folder is read by the version of the code that wrote it; it is no artefact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.dataset import Dataset, EventLog, UserCountries, columns_of
from serendip.data.events.impression_log import ImpressionLog
from serendip.data.events.negative_log import NegativeLog
from serendip.data.events.search_log import LoggedRequest
from serendip.data.items.catalogue import open_catalogue, save_catalogue
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.data.users.groups import Groups
from serendip.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_USERS = "users"
_EVENTS, _NEGATIVES, _COUNTRIES = "events", "negatives", "countries"
_IMPRESSIONS = "impressions"
_GROUPS = "groups"
_FACTS, _REQUESTS = "facts.json", "requests.json"
_ARRAYS: Mapping[str, type] = {
    **{"shown": np.int32, "chosen": np.int32, "liked": np.bool_, "positions": np.int32},
    "propensities": np.float64,
}
"""Columns of a request, with their types."""


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a dataset into a folder, which is created."""
    folder.mkdir(parents=True)
    save_catalogue(dataset.catalogue, folder)
    countries = dataset.countries
    tables: dict[str, DataclassInstance | None] = {
        **{_EVENTS: dataset.events, _NEGATIVES: dataset.negatives},
        **{_IMPRESSIONS: dataset.impressions, _COUNTRIES: countries},
    }
    tables |= {f"{_GROUPS}-{name}": one for name, one in enumerate(dataset.user_groups.values())}
    dataset.users.save(folder / _USERS)
    for name, table in tables.items():
        if table is not None:
            save_arrays(folder / name, columns_of(table))
    facts = {
        "cut": dataset.cut,
        "action_names": dataset.action_names,
        "device_names": dataset.device_names,
        "countries": None if countries is None else countries.names,
        "groups": {name: groups.names for name, groups in dataset.user_groups.items()},
    }
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    requests = json.dumps(list(map(asdict, dataset.requests)), default=_plain)
    (folder / _REQUESTS).write_text(requests, encoding="utf-8")


def open_dataset(folder: Path) -> Dataset:
    """Map what ``save_dataset`` wrote."""
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    requests = json.loads((folder / _REQUESTS).read_text(encoding="utf-8"))
    countries = None
    if facts["countries"] is not None:
        arrays = open_arrays(folder / _COUNTRIES)
        countries = UserCountries(tuple(facts["countries"]), **arrays)
    groups = {
        name: Groups(tuple(values), **open_arrays(folder / f"{_GROUPS}-{number}"))
        for number, (name, values) in enumerate(facts["groups"].items())
    }
    return Dataset(
        open_catalogue(folder),
        Vocabulary.open(folder / _USERS),
        EventLog(**open_arrays(folder / _EVENTS)),
        cut=facts["cut"],
        requests=[_of_json(request) for request in requests],
        countries=countries,
        negatives=NegativeLog(**open_arrays(folder / _NEGATIVES)),
        impressions=ImpressionLog(**open_arrays(folder / _IMPRESSIONS)),
        action_names=tuple(facts["action_names"]),
        device_names=tuple(facts["device_names"]),
        user_groups=groups,
    )


def _plain(value: NDArray[Any] | frozenset[str]) -> list[Any]:
    return value.tolist() if isinstance(value, np.ndarray) else sorted(value)


def _of_json(values: Mapping[str, Any]) -> LoggedRequest:
    arrays: dict[str, Any] = {name: np.array(values[name], kind) for name, kind in _ARRAYS.items()}
    actions = [frozenset(names) for names in values["actions"]]
    return LoggedRequest(**{**values, **arrays, "actions": actions})
