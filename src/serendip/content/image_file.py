"""Pictures from files that nobody vouches for: size, pixels and format are bounded.

What a file claims about itself is checked before anything of it is unpacked, so that a small file
that unfolds into gigabytes is refused in its first bytes.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

from serendip.content.encoder import import_extra
from serendip.content.media import read_bounded
from serendip.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
HINT = 'Run `pip install "serendip[image]"`.'

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, struct.error)
"""What the decoders raise for files that are torn or lie about themselves."""


def read_image(path: Path, max_bytes: int, max_pixels: int) -> Any:
    """The picture of a file: upright, RGB, on white where it is transparent.

    Of a file with several frames the first one is read.

    Args:
        path: JPEG, PNG, WebP or GIF; what it is says its content, not its name.
        max_bytes: largest file.
        max_pixels: most pixels, width times height.

    Returns:
        a ``PIL.Image.Image`` in mode RGB.

    Raises:
        DataError: the file is too large, has too many pixels, is of another format or broken.
        ExtraMissing: pillow is not installed.
    """
    pillow = import_extra("PIL.Image", HINT)
    data = read_bounded(path, max_bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            picture = pillow.open(io.BytesIO(data), formats=FORMATS)
            width, height = picture.size
            if width * height > max_pixels:
                raise DataError(
                    f"{path} has {width} x {height} pixels; {max_pixels:,} are allowed.",
                    "Make it smaller, or raise `max_pixels`.",
                )
            return _upright_rgb(picture, pillow)
        except (pillow.DecompressionBombWarning, pillow.DecompressionBombError):
            raise DataError(f"{path} has far too many pixels.", "Make it smaller.") from None
        except DataError:
            raise
        except pillow.UnidentifiedImageError:
            allowed = ", ".join(FORMATS)
            raise DataError(f"{path} is no picture that is read here.", f"Use {allowed}.") from None
        except _BROKEN as error:
            raise DataError(f"{path} is a broken picture: {error}.", "Replace it.") from None


def _upright_rgb(picture: Any, pillow: Any) -> Any:
    """Decoded, turned as the camera was held, and without transparency."""
    from PIL.ImageOps import exif_transpose

    turned = exif_transpose(picture)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        layers = turned.convert("RGBA")
        white = pillow.new("RGBA", layers.size, (255, 255, 255, 255))
        turned = pillow.alpha_composite(white, layers)
    return turned.convert("RGB")
