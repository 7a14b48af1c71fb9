from pathlib import Path

import pytest

from serendip.config import validate
from serendip.content.encoders.image import ImageConfig
from serendip.data import Item
from serendip.engine.config.settings import Settings
from serendip.engine.item_pictures import ItemPictures, PageConfig
from serendip.errors import ConfigError

SIGNATURES = {
    "a.png": (b"\x89PNG\r\n\x1a\n...", "image/png"),
    "b.jpg": (b"\xff\xd8\xff\xe0...", "image/jpeg"),
    "c.webp": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
    "d.gif": (b"GIF89a...", "image/gif"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    (workspace / "posters").mkdir(parents=True)
    return workspace


def item(poster: str) -> Item:
    return Item("i1", "One", "", {"poster": poster})


def pictures(folder: Path, **changes: object) -> ItemPictures:
    page = PageConfig.model_validate({"image": "poster", **changes})
    return ItemPictures.of(folder, page, None)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_picture_in_the_workspace_is_read_with_its_media_type(folder: Path, name: str) -> None:
    body, media_type = SIGNATURES[name]
    (folder / "posters" / name).write_bytes(body)
    picture = pictures(folder).read(item(f" posters/{name} "))
    assert (picture.body, picture.media_type) == (body, media_type)


def test_the_signature_counts_and_not_the_name_of_the_file(folder: Path) -> None:
    (folder / "a.txt").write_bytes(SIGNATURES["a.png"][0])
    (folder / "b.png").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "c.png").write_bytes(b"")
    read = pictures(folder).read
    picture = read(item("a.txt"))
    assert picture is not None and picture.media_type == "image/png"
    assert read(item("b.png")) is None
    assert read(item("c.png")) is None


def test_nothing_outside_the_workspace_is_read(folder: Path) -> None:
    outside = folder.parent / "secret.png"
    outside.write_bytes(SIGNATURES["a.png"][0])
    (folder / "link.png").symlink_to(outside)
    (folder / "up").symlink_to(folder.parent)
    for name in (
        "../secret.png",
        str(outside),
        "link.png",
        "up/secret.png",
        "posters/../../secret.png",
    ):
        assert pictures(folder).read(item(name)) is None, name


@pytest.mark.parametrize("name", ["", " ", "none.png", "posters", "a\0b.png", "x" * 5000, "."])
def test_what_is_no_file_is_no_picture(folder: Path, name: str) -> None:
    assert pictures(folder).read(item(name)) is None


def test_a_file_larger_than_the_limit_is_no_picture(folder: Path) -> None:
    (folder / "a.png").write_bytes(SIGNATURES["a.png"][0])
    size = len(SIGNATURES["a.png"][0])
    page = PageConfig(image="poster")
    assert ItemPictures.of(folder, page, ImageConfig(max_bytes=size)).read(item("a.png"))
    assert not ItemPictures.of(folder, page, ImageConfig(max_bytes=size - 1)).read(item("a.png"))


def test_the_attribute_is_that_of_the_page_else_that_of_the_image_encoder(folder: Path) -> None:
    image = ImageConfig(field="photo")
    assert ItemPictures.of(folder, PageConfig(), None).attribute == ""
    assert ItemPictures.of(folder, PageConfig(), image).attribute == "photo"
    assert ItemPictures.of(folder, PageConfig(image="poster"), image).attribute == "poster"
    without = ItemPictures.of(folder, PageConfig(), None)
    assert not without.names_file(item("a.png"))


def test_addresses_are_of_allowed_hosts_alone_and_nothing_is_learned_from_them(
    folder: Path,
) -> None:
    allowed = pictures(folder, image_hosts=["CDN.example.com", "img.example.org"])
    good = ["https://cdn.example.com/a.jpg", "https://img.example.org/x?size=2&y=%20"]
    good += ["HTTPS://Cdn.Example.com/ü.png", "https://cdn.example.com"]
    for address in good:
        assert allowed.remote_address(item(address)) == address
        assert not allowed.names_file(item(address))
        assert pictures(folder).remote_address(item(address)) == "", "off by default"
    shown = Settings(page=PageConfig(image="poster", image_hosts=("cdn.example.com",)))
    assert shown.learned_from() == Settings().learned_from()


OTHERS = "http://cdn.example.com/a.jpg //cdn.example.com/a.jpg https://evil.com/a.jpg "
OTHERS += "https://x.cdn.example.com/a.jpg https://cdn.example.com.evil.com/a.jpg "
OTHERS += "https://evil.com\\@cdn.example.com/a.jpg https://cdn.example.com@evil.com/a.jpg "
OTHERS += (
    "https://cdn.example.com:8443/a.jpg data:image/png;base64,iVBORw0KGgo= javascript:alert(1)"
)
SPACED = ["https://cdn.example.com/a b.jpg", "https://cdn.example.com/a\n.jpg"]


@pytest.mark.parametrize("address", [*OTHERS.split(), *SPACED])
def test_any_other_address_is_no_picture(folder: Path, address: str) -> None:
    found = pictures(folder, image_hosts=["cdn.example.com"])
    assert found.remote_address(item(address)) == ""
    assert found.read(item(address)) is None


HOSTS = ["*", "*.example.com", "https://a.com", "a.com/a", "a.com:443", "a.com; script-src *"]


@pytest.mark.parametrize("host", [*HOSTS, "a.com b.com", "a.com\n", "", "localhost", "a..com"])
def test_only_plain_host_names_may_be_allowed(host: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.toml: `page\.image_hosts`.*is not a host name"):
        validate(Settings, {"page": {"image_hosts": [host]}}, "x.toml")
