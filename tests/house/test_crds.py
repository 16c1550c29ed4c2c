"""The generated custom resource definitions."""

from pathlib import Path

import pytest

from docs.crds import FOLDER, files


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=path.name) for path, text in files().items()])
def test_the_generated_definition_is_what_the_models_say(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make crds`"


def test_nothing_else_is_in_the_folder() -> None:
    assert set(FOLDER.iterdir()) == set(files())
