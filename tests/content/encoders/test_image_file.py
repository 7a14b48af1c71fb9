from pathlib import Path

import numpy as np
import pytest
from pictures import Image, bomb, stripes

from serendip.content.encoders.image import read_image
from serendip.errors import DataError

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 40_000_000}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_the_four_formats_are_read_whatever_the_name(tmp_path: Path, suffix: str) -> None:
    path = stripes(tmp_path / f"picture.{suffix}").rename(tmp_path / "picture.data")
    picture = read_image(path, **LIMITS)
    assert (picture.mode, picture.size) == ("RGB", (64, 48))
    pixels = np.asarray(picture)
    assert pixels[24, 3, 0] > 180
    assert pixels[24, 12, 0] < 60


@pytest.mark.parametrize("side", [7_000, 10_000, 60_000])
def test_a_bomb_is_refused_for_its_pixels_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    with pytest.raises(DataError, match="pixels"):
        read_image(bomb(tmp_path / "bomb.png", side, side), **LIMITS)


def test_pixels_are_counted_exactly(tmp_path: Path) -> None:
    path = stripes(tmp_path / "a.png", 20, 10)
    assert read_image(path, 1_000_000, 200).size == (20, 10)
    with pytest.raises(DataError, match="20 x 10 pixels; 199 are allowed"):
        read_image(path, 1_000_000, 199)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused_even_with_a_good_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(path, format=kind)
    with pytest.raises(DataError, match="not an image in a supported format"):
        read_image(path, **LIMITS)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_torn_and_altered_files_are_data_errors_or_pictures(tmp_path: Path, suffix: str) -> None:
    whole = stripes(tmp_path / f"a.{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"broken.{suffix}"
    refused = 0
    for attempt in range(60):
        data = bytearray(whole)
        if attempt % 2:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            for place in rng.integers(0, len(data), 5):
                data[place] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            assert read_image(path, **LIMITS).mode == "RGB"
        except DataError:
            refused += 1
    assert refused > 10


def test_a_picture_is_read_as_people_see_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 255))
    picture.save(path)
    assert np.asarray(read_image(path, **LIMITS))[0].tolist() == [[255, 255, 255], [255, 0, 0]]

    path = tmp_path / "a.jpg"
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    assert read_image(path, **LIMITS).size == (20, 40)

    path = tmp_path / "a.gif"
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(path, save_all=True, append_images=[blue] * 3)
    assert np.asarray(read_image(path, **LIMITS))[0, 0].tolist() == [255, 0, 0]
