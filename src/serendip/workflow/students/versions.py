"""Versions of the judge of matches: immutable folders, one of them current.

Layout of a workspace's ``students/``::

    v2/trees.onnx, judge.*   what was learned, without the items
    v2/manifest.json         written last: what was learned from, figures, encoder, SHA-256s
    current                  one line, the name of the current version

A training takes the current version into its generation, with the items of that training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serendip import __version__
from serendip.data.durable import MANIFEST, alone, checksums, pointed_at, publish_folder
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, DataError, NotTrainedError
from serendip.models.match_judge import MatchJudge, open_model, save_model
from serendip.scale.options import TrainOptions
from serendip.workflow.students.catalogue_texts import JudgedTexts

POINTER = "current"
_BUILDING = ".building-"
_FIRST = "Run `serendip judge distil` first."


@dataclass(frozen=True, slots=True)
class StudentVersion:
    """One version.

    Args:
        folder: where its files are.
        manifest: what it was learned from, and how good it is.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``v<n>``."""
        return self.folder.name


def publish_student(folder: Path, judge: MatchJudge, facts: Mapping[str, Any]) -> StudentVersion:
    """Write a version and make it current.

    Raises:
        StorageError: another process does so now.
    """
    with alone(folder):
        for leftover in folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(leftover)
        name = f"v{max((_number(path.name) for path in folder.glob('v*')), default=0) + 1}"
        building = folder / f"{_BUILDING}{name}"
        save_model(judge, building)
        told = {
            "name": name,
            "code_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        }
        manifest = publish_folder(building, name, folder / POINTER, told)
    return StudentVersion(folder / name, manifest)


def current_student(folder: Path) -> StudentVersion:
    """The current version, its files checked against its manifest.

    Raises:
        NotTrainedError: none was distilled.
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    name = pointed_at(folder / POINTER)
    if not name:
        raise NotTrainedError(f"{folder} has no judge of matches.", _FIRST)
    return student_named(folder, name)


def student_named(folder: Path, name: str) -> StudentVersion:
    """A version, its files checked against its manifest.

    Raises:
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    place = folder / name
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        expected = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{place / MANIFEST} is not readable: {error}.") from None
    if checksums(place) != expected:
        raise ArtefactError(f"files of {place} are missing or altered.", _FIRST)
    return StudentVersion(place, manifest)


def asked_student(workspace: Workspace) -> StudentVersion | None:
    """The current version, if a surface asks for it.

    Raises:
        NotTrainedError: none was distilled.
        ArtefactError: it is altered.
        DataError: a surface names no cut, and none was proven for it.
    """
    surfaces = workspace.settings.all_surfaces().items()
    asking = {name: one.bad_matches for name, one in surfaces if one.bad_matches is not None}
    if not asking:
        return None
    version = current_student(workspace.students)
    proven = version.manifest["filter"]["safe_cut"]
    for name, config in asking.items():
        if config.cut is None and workspace.settings.all_surfaces()[name].needs != "query":
            raise DataError(
                f"surfaces.{name}.bad_matches names no cut, and what distil proves is proven for "
                "typed words, which this surface does not ask for.",
                "Set `cut`.",
            )
        if config.cut is None and proven is None:
            raise DataError(
                f"surfaces.{name}.bad_matches names no cut, and {version.folder} could prove none.",
                "Set `cut`, or distil with more gold or a larger --allowed.",
            )
    return version


def judge_of(
    workspace: Workspace, version: StudentVersion, items: tuple[Item, ...], options: TrainOptions
) -> MatchJudge:
    """A version for all items of a training.

    Raises:
        ArtefactError: it is of other features.
        DataError: it read other fields, or by another encoder.
    """
    texts = JudgedTexts(workspace, options.device)
    if version.manifest["reads"] != texts.reads:
        raise DataError(
            f"{version.folder} read {version.manifest['reads']}; now it is {texts.reads}.",
            "Run `serendip judge distil` again.",
        )
    return open_model(version.folder, texts.items(items, options.progress))


def _number(name: str) -> int:
    """2 of ``v2``; 0 for anything else."""
    digits = name.removeprefix("v")
    return int(digits) if name.startswith("v") and digits.isdecimal() else 0
