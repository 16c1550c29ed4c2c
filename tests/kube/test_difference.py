"""Merge patches of the difference, applied as RFC 7396 says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durable_timer.kube.difference import difference

SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "b"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [without_nulls(inner) for inner in value]
        case _:
            return value


@given(OBJECTS.map(without_nulls), OBJECTS)
def test_the_patch_makes_what_is_there_what_is_wanted(present: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert merged(present, difference(present, wanted)) == without_nulls(wanted)


@given(OBJECTS)
def test_there_is_none_to_what_is_so_already(wanted: dict[str, Any]) -> None:
    assert difference(without_nulls(wanted), wanted) == {}


@given(OBJECTS.map(without_nulls), OBJECTS)
def test_it_names_no_key_that_stays_as_it_is(present: dict[str, Any], wanted: dict[str, Any]) -> None:
    patch = difference(present, wanted)
    clean = without_nulls(wanted)
    assert all(present.get(key) != clean.get(key) for key in patch)
