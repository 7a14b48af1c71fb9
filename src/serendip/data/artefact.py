"""One way to save what was learned: arrays are mapped again, bytes are files, all else is JSON.

A class of such values inherits from ``Artefact``. A folder has ``value.json``, with the arguments
of the value and of all values inside it, and a file for each array and for bytes. An array that is
in several places is stored once; short columns are in the document.

Nothing is pickled: what is read is made of classes that inherit from ``Artefact``, by their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from serendip.config import Config, validate
from serendip.errors import require_readable

VALUE_FILE = "value.json"

_CLASSES: dict[str, type[Artefact]] = {}
_INLINE = 32  # longest column that is in the document itself
_LONGEST = 60  # characters of a value's place in the name of its file


class Artefact:
    """A value that can be saved: a dataclass, or a class that says what its arguments are."""

    __slots__ = ()

    repair: ClassVar[str] = "Run `serendip train`."  # what to do if it cannot be read

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _CLASSES[_class_name(cls)] = cls

    def stored(self) -> dict[str, Any]:
        """What is saved, by name: ``restored`` gets it."""
        arguments = (one.name for one in fields(cast("Any", self)) if one.init)
        return {name: getattr(self, name) for name in arguments}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """Make the value of what ``stored`` returned; arrays are read-only, lists are tuples."""
        return cls(**values)

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is created."""
        save_value(self, folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder has no readable value of this class.
        """
        with require_readable(folder, cls.__name__, cls.repair):
            value = open_value(folder)
            if not isinstance(value, cls):
                raise TypeError(f"it has a {type(value).__name__}")
        return value


def save_value(value: object, folder: Path) -> None:
    """Write an artefact, or arrays, sparse matrices, texts and numbers, into a folder (created)."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_Writer(folder).encode(value, ""), ensure_ascii=False)
    (folder / VALUE_FILE).write_text(text, encoding="utf-8")


def open_value(folder: Path) -> Any:
    """Map what ``save_value`` wrote; of a damaged folder any error."""
    return _Reader(folder).decode(json.loads((folder / VALUE_FILE).read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class _Writer:
    folder: Path
    names: dict[int, str] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)  # what ``names`` knows by identity

    def encode(self, value: object, place: str) -> Any:
        if isinstance(value, Artefact):
            return {"class": _class_name(type(value)), "values": self._all(value.stored(), place)}
        if isinstance(value, Config):
            return {"config": _class_name(type(value)), "values": value.model_dump(mode="json")}
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, csr_array) or hasattr(value, "__array__"):
            return self._encode_array(value, place)
        if isinstance(value, bytes):
            return {"bytes": self._write(value, place)}
        if isinstance(value, Mapping):
            return {"map": self._all(value, place)}
        if isinstance(value, frozenset):
            return {"set": sorted(value)}
        if isinstance(value, (tuple, list)):
            return [self.encode(one, place) for one in value]
        raise TypeError(f"a {type(value).__name__} cannot be saved")

    def _encode_array(self, value: Any, place: str) -> dict[str, Any]:
        if isinstance(value, csr_array):
            parts = value.data, value.indices, value.indptr, np.array(value.shape)
            return {"sparse": [self.encode(one, place) for one in parts]}
        if value.ndim == 1 and len(value) <= _INLINE:
            return {"numbers": np.asarray(value).tolist(), "type": value.dtype.str}
        return {"array": self._write(value, place)}

    def _all(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        return {name: self.encode(one, f"{place}-{name}") for name, one in values.items()}

    def _write(self, value: Any, place: str) -> str:
        known = self.names.get(id(value))
        if known is not None:
            return known
        name = f"{len(self.names)}{re.sub(r'[^A-Za-z0-9_-]', '_', place)[-_LONGEST:]}"
        if isinstance(value, bytes):
            name += ".bin"
            (self.folder / name).write_bytes(value)
        else:
            name += ".npy"
            np.save(self.folder / name, np.asarray(value), allow_pickle=False)
        self.names[id(value)] = name
        self.kept.append(value)
        return name


@dataclass(frozen=True, slots=True)
class _Reader:
    folder: Path
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def decode(self, document: Any) -> Any:
        if isinstance(document, list):
            return tuple(map(self.decode, document))
        if not isinstance(document, dict):
            return document
        if "config" in document:
            return validate(_config_class(document["config"]), document["values"], "stored config")
        if "class" in document:
            values = {name: self.decode(one) for name, one in document["values"].items()}
            return _CLASSES[document["class"]].restored(values)
        if "map" in document:
            return {name: self.decode(one) for name, one in document["map"].items()}
        if "sparse" in document:
            *arrays, shape = map(self.decode, document["sparse"])
            return csr_array(tuple(arrays), shape=tuple(shape.tolist()))
        if "numbers" in document:
            return np.array(document["numbers"], document["type"])
        if "set" in document:
            return frozenset(document["set"])
        if "bytes" in document:
            return self._path(document["bytes"]).read_bytes()
        return self._map(document["array"])

    def _map(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            array = np.load(self._path(name), mmap_mode="r", allow_pickle=False)
            self.arrays[name] = np.asarray(array)
        return self.arrays[name]

    def _path(self, name: str) -> Path:
        return self.folder / Path(name).name  # a stored name leads nowhere else


def _config_class(name: str) -> type[Config]:
    kinds: list[type[Config]] = [Config]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return next(kind for kind in kinds if _class_name(kind) == name)


def _class_name(kind: type) -> str:
    return kind.__qualname__  # a class may move to another module
