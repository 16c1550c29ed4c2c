"""Secrets as files."""

from pathlib import Path

import pytest

from durable_timer.clock import SystemClock
from durable_timer.secrets import FOUND_FOR, MISSING_FOR, SIZE_MAX, FileSecrets


class HandClock(SystemClock):
    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time


def write(folder: Path, path: str, value: bytes) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(value)


async def test_a_value_is_the_file_of_its_key_without_one_line_end(tmp_path: Path) -> None:
    write(tmp_path, "signing/secret", b"whsec_abc\n")
    write(tmp_path, "team-a/signing/secret", b"other\r\n\r\n")
    secrets = FileSecrets(tmp_path, SystemClock())
    assert await secrets.read(None, "signing", "secret") == b"whsec_abc"
    assert await secrets.read("team-a", "signing", "secret") == b"other\r\n"
    assert await secrets.read("team-b", "signing", "secret") is None


async def test_without_a_folder_there_are_none() -> None:
    assert await FileSecrets(None, SystemClock()).read(None, "signing", "secret") is None


@pytest.mark.parametrize(
    ("namespace", "name", "key"),
    [(None, "..", "outside"), (None, "signing", "../../outside"), ("..", "x", "outside"), (None, "", "outside"), (None, ".", "x")],
)  # fmt: skip
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, namespace: str | None, name: str, key: str) -> None:
    write(tmp_path, "outside", b"value")
    write(tmp_path, "x/outside", b"value")
    folder = tmp_path / "secrets"
    folder.mkdir()
    assert await FileSecrets(folder, SystemClock()).read(namespace, name, key) is None


async def test_what_is_too_long_is_not_a_value(tmp_path: Path) -> None:
    write(tmp_path, "a/fits", b"x" * SIZE_MAX)
    write(tmp_path, "a/longer", b"x" * (SIZE_MAX + 1))
    secrets = FileSecrets(tmp_path, SystemClock())
    assert await secrets.read(None, "a", "fits") is not None
    assert await secrets.read(None, "a", "longer") is None


async def test_a_changed_file_is_read_when_the_cached_value_is_old(tmp_path: Path) -> None:
    clock = HandClock()
    secrets = FileSecrets(tmp_path, clock)
    assert await secrets.read(None, "a", "k") is None
    write(tmp_path, "a/k", b"one")
    assert await secrets.read(None, "a", "k") is None
    clock.time = MISSING_FOR
    assert await secrets.read(None, "a", "k") == b"one"
    write(tmp_path, "a/k", b"two")
    clock.time = MISSING_FOR + FOUND_FOR - 0.1
    assert await secrets.read(None, "a", "k") == b"one"
    clock.time = MISSING_FOR + FOUND_FOR
    assert await secrets.read(None, "a", "k") == b"two"
