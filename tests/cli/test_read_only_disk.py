import shutil
from pathlib import Path

from commands import serendip_here
from stored_files import mounted, remount

from serendip.errors import StorageError

COMMANDS = {
    "train": "/training cannot be written: Read-only file system.",
    "evaluate": "/reports cannot be written: Read-only file system.",
    "rollback": "/generations cannot be written: Read-only file system.",
    "import": "serendip.db-packs.lock cannot be written: Read-only file system.",
    "backup": "/training cannot be written: Read-only file system.",
}


def test_commands_that_write_name_the_place_and_the_next_step(
    trained_folder: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as folder:
        shutil.copytree(trained_folder, folder, dirs_exist_ok=True)
        remount(folder, "ro")
        for command, told in COMMANDS.items():
            target = [tmp_path / "saved"] if command == "backup" else []
            done = serendip_here(command, *target, "-w", folder)
            assert done.returncode == StorageError.exit_code, (command, done.stderr)
            assert told in done.stderr
            assert "Check free space" in done.stderr
        assert not (tmp_path / "saved").exists()
