"""What a training has published, to be compared with what another one has."""

import json
from pathlib import Path


def read_generation(folder: Path) -> dict[str, bytes]:
    """Files by name, without those of the word index, which draws their names at random."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = (path.as_posix() for path in paths if "_words" not in path.parts)
    return {name: (folder / name).read_bytes() for name in sorted(names)}


def read_facts(manifest: bytes) -> dict[str, object]:
    """What is said of a generation, without its times and checksums."""
    document, other = json.loads(manifest), ("created", "files", "checksum")
    for part in document["parts"].values():
        del part["seconds"], part["cpu_s"]
    return {key: value for key, value in document.items() if key not in other}
