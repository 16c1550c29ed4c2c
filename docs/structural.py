"""From a pydantic model to the structural schema that a CRD wants: no references, no unions, defaults as in a manifest."""

from __future__ import annotations

import inspect
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from durable_timer.models.durations import format_duration

Schema = dict[str, Any]
"""A JSON Schema."""

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_KEPT: Final = (
    "description", "type", "format", "default", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern",
    "maxItems", "maxProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", PRESERVE, "not", "items",
    "additionalProperties", "required", "properties", "x-kubernetes-validations",
)  # fmt: skip
"""What a CRD's schema may say here, in the order it is written."""


class _WrittenDefaults(GenerateJsonSchema):
    """Defaults as people write them in a manifest."""

    def encode_default(self, dft: Any) -> Any:
        match dft:
            case timedelta():
                return format_duration(dft)
            case float():
                return repr(dft)
            case Enum():
                return dft.value
            case _:
                return super().encode_default(dft)


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of a model, by the names of its manifest.

    Raises:
        ValueError: The model says something that such a schema has no word for.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_WrittenDefaults)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _resolved(schema, definitions)
    if not schema.keys() - {"description"}:
        return {**schema, PRESERVE: True}
    if "properties" in schema:
        required = schema.get("required", ())
        schema["properties"] = {
            name: _property(part, definitions, required=name in required) for name, part in schema["properties"].items()
        }
    if "items" in schema:
        schema["items"] = _structural(schema["items"], definitions)
    more = schema.pop("additionalProperties", False)
    if more is not False:
        values = _structural(more, definitions)
        schema.update({PRESERVE: True} if PRESERVE in values else {"additionalProperties": values})
    if unknown := schema.keys() - set(_KEPT):
        raise ValueError(f"a structural schema has no {', '.join(sorted(unknown))}")
    return {key: schema[key] for key in _KEPT if key in schema}


def _property(schema: Schema, definitions: dict[str, Schema], *, required: bool) -> Schema:
    """A part of an object; one that may be left out and has defaults inside is made, so that they appear."""
    found = _structural(schema, definitions)
    may_be_null = "default" in schema
    if not required and not may_be_null and found.get("type") == "object":
        found = {"description": found["description"], "type": "object", "default": {}, **found}
    return found


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Without `$ref`, `anyOf` null, `const`, titles and defaults that say nothing; `schema` wins over what it refers to."""
    own = dict(schema)
    own.pop("title", None)
    own.pop("$defs", None)
    if own.get("default", ...) in (None, [], ()):
        del own["default"]
    if "const" in own:
        own["enum"] = [own.pop("const")]
    for choice in own.pop("anyOf", ()):
        if choice != {"type": "null"}:
            own = {**_resolved(choice, definitions), **own}
    if "$ref" in own:
        own = {**_resolved(definitions[own.pop("$ref").rpartition("/")[2]], definitions), **own}
    if "description" in own:
        own["description"] = inspect.cleandoc(own["description"]).replace("\n", " ")
    return own
