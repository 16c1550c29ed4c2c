"""The generated custom resource definitions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.crds import FOLDER, KINDS, Kind, files, root_schema


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=path.name) for path, text in files().items()])
def test_the_generated_definition_is_what_the_models_say(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make crds`"


def test_nothing_else_is_in_the_folder() -> None:
    assert set(FOLDER.iterdir()) == set(files())


FIRST_RELEASE = Path(__file__).parent / "first_release_fields.txt"


def shapes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every field of a schema at all depths: its path, its schema, whether it has to be there."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field, name in schema.get("required", ())
        yield from shapes(field, f"{path}.{name}")
        yield from shapes(field.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_field_says_what_it_is(kind: Kind) -> None:
    found = {path: field for path, field, _ in shapes(root_schema(kind))}
    assert len(found) > 40
    assert [path for path, field in found.items() if not field.get("description") and path != ".metadata"] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_rule_reads_is_bounded(kind: Kind) -> None:
    for path, field, _ in shapes(root_schema(kind)["properties"]["spec"]):
        bounded = "maxLength" in field or "enum" in field
        assert field.get("type") != "string" or bounded, path
        assert field.get("type") != "array" or {"maxItems", "x-kubernetes-list-type"} <= field.keys(), path
        assert "additionalProperties" not in field or "maxProperties" in field, path


def shape(kind: Kind) -> set[str]:
    """Each field of a kind's objects: path, type, and whether it has to be there."""
    return {
        f"{kind.name}{path} {field.get('type', 'any')} {'required' if required else 'optional'}"
        for path, field, required in shapes(root_schema(kind))
    }


def test_objects_of_the_first_release_keep_their_fields() -> None:
    """Fields are only ever added, and only optional ones: an object that was stored stays valid and keeps its meaning."""
    first = set(FIRST_RELEASE.read_text().splitlines())
    today = set().union(*map(shape, KINDS))
    assert first - today == set()
    known = {line.split()[0] for line in first}
    added = [line for line in today - first if line.endswith("required")]
    assert [line for line in added if line.split()[0].rpartition(".")[0].removesuffix("[]") in known] == []
