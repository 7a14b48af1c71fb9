"""Optional packages: extras such as ``train``, which a service does without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from serendip.errors import ExtraMissing

TRAINING_PACKAGES = ("torch", "onnx", "lightgbm")  # imports of the extra ``train``


def require_training() -> None:
    """Check that the extra ``train`` is installed; a job calls it before its first step.

    Raises:
        ExtraMissing: a package is missing.
    """
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"this needs the extra `train`, of which {', '.join(missing)} cannot be imported.",
            'Run `pip install "serendip[train]"`.',
        )


@contextmanager
def of_extra(extra: str, what: str) -> Iterator[None]:
    """Import packages of an extra in a ``with`` block; ``what`` needs it, for people.

    Raises:
        ExtraMissing: one cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        command = f'Run `pip install "serendip[{extra}]"`.'
        raise ExtraMissing(f"{what} cannot be imported: {error}.", command) from None
