"""The generated pages of docs/."""

from pathlib import Path

import pytest

from docs.generate import pages


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=path.name) for path, text in pages().items()])
def test_the_generated_page_is_what_the_code_says(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make docs`"
