"""Versions of the judge of matches: immutable folders, one of them current.

Layout of a workspace's ``students/``::

    v2/trees.onnx, judge.*   what was learned, without the items
    v2/manifest.json         written last: what was learned from, figures, encoder, SHA-256s
    current                  one line, the name of the current version

A training takes the current version into its generation, with the items of that training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serendip.data.durable import alone
from serendip.data.item import Item
from serendip.data.versions import Version, Versions
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, NotTrainedError
from serendip.models.match_judge import MatchJudge, open_model, save_model
from serendip.scale.options import TrainOptions
from serendip.workflow.students.catalogue_texts import JudgedTexts

_FIRST = "Run `serendip judge distil` first."


def publish_student(folder: Path, judge: MatchJudge, facts: Mapping[str, Any]) -> Version:
    """Write a version and make it current.

    Raises:
        StorageError: another process does so now.
    """
    with alone(folder):
        return _versions(folder).publish(lambda building: save_model(judge, building), facts)


def current_student(folder: Path) -> Version:
    """The current version, its files checked against its manifest.

    Raises:
        NotTrainedError: none was distilled.
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    student = _versions(folder).current()
    if student is None:
        raise NotTrainedError(f"{folder} has no judge of matches.", _FIRST)
    return student


def current_student_name(folder: Path) -> str:
    """Name of the current version; empty where none was distilled."""
    return _versions(folder).current_name()


def student_named(folder: Path, name: str) -> Version:
    """A version, its files checked against its manifest.

    Raises:
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    return _versions(folder).open(name)


def asked_student(workspace: Workspace) -> Version | None:
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
    workspace: Workspace, version: Version, items: tuple[Item, ...], options: TrainOptions
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


def _versions(folder: Path) -> Versions:
    return Versions(folder, _FIRST)
