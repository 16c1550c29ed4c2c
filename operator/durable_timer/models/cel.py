"""Rules that an API server holds when a resource is written, in CEL, beside the Python that holds the same in a file.

Both say one thing twice, because neither can run the other's words; a test lets both judge the same specs. Every string,
list and map that a rule reads has to be bounded: an API server refuses a CRD whose rules may cost too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetJsonSchemaHandler
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

RULES: Final = "x-kubernetes-validations"
"""The key of a schema's rules."""


@dataclass(frozen=True, slots=True)
class CelRule:
    """An expression over `self` that must be true, and what is said when it is not.

    `field` is the one inside `self` that the message is about, when `self` is an object.
    """

    rule: str
    message: str
    field: str = ""

    def to_json(self) -> JsonDict:
        """As it stands in a CRD."""
        path: JsonDict = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.rule, "message": self.message, **path}


@dataclass(frozen=True, slots=True)
class FieldRules:
    """Pydantic metadata: the rules of a field's value."""

    rules: tuple[CelRule, ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json: dict[str, Any] = handler(schema)
        return {**json, RULES: [*json.get(RULES, ()), *(rule.to_json() for rule in self.rules)]}


def held(*rules: CelRule) -> JsonDict:
    """For `json_schema_extra` of a model: rules over its fields."""
    return {RULES: [rule.to_json() for rule in rules]}


def matches(pattern: str, message: str) -> CelRule:
    """A text that has to match; `pattern` has no single quote in it."""
    return CelRule(f"self.matches(r'{pattern}')", message)


def matches_not(pattern: str, message: str) -> CelRule:
    """A text that must not match."""
    return CelRule(f"!self.matches(r'{pattern}')", message)


def immutable(field: str) -> CelRule:
    """Neither its value nor whether it is there ever changes."""
    return CelRule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        "is immutable",
        field,
    )


def in_order(least: str, most: str, least_value: str, most_value: str) -> CelRule:
    """Where both fields are there, `most` is at least `least`; the values are CEL expressions of them."""
    return CelRule(
        f"!has(self.{least}) || !has(self.{most}) || {most_value} >= {least_value}",
        f"must be at least {least}",
        most,
    )


def list_map(*keys: str) -> JsonDict:
    """For `json_schema_extra`: a list whose items are told apart by these fields, none twice, merged by them."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
