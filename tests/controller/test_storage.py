"""What kopf keeps on an object."""

import json
from typing import Any

import kopf
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.controller.registry import build_registry, build_settings
from durable_timer.controller.storage import ANNOTATION, SpecHashStorage, spec_hash

ANNOTATIONS_MAX = 256 * 1024
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def body(spec: Any, annotations: dict[str, str] | None = None) -> kopf.Body:
    return kopf.Body({"metadata": {"name": "x", "annotations": annotations or {}}, "spec": spec, "status": {"a": 1}})


def stored(spec: Any) -> dict[str, str]:
    """The annotations after a spec was handled."""
    storage, patch = SpecHashStorage(), kopf.Patch()
    storage.store(body=body(spec), patch=patch, essence=storage.build(body=body(spec)))
    return dict(patch["metadata"]["annotations"])


def test_a_large_payload_that_is_not_ascii_takes_64_characters() -> None:
    spec = {"payload": "雪" * 21_845}
    assert len(stored(spec)[ANNOTATION]) == 64
    kopfs_own = json.dumps({"spec": spec})
    assert len(kopfs_own) > ANNOTATIONS_MAX / 2


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_what_was_stored_is_what_is_fetched_and_only_another_spec_differs(spec: dict[str, Any]) -> None:
    storage = SpecHashStorage()
    annotations = stored(spec)
    assert storage.fetch(body=body(spec, annotations)) == storage.build(body=body(spec))
    turned = dict(reversed(spec.items()))
    assert storage.fetch(body=body(turned, annotations)) == storage.build(body=body(turned))
    assert storage.build(body=body(spec | {"more": 1})) != storage.build(body=body(spec))


def test_labels_annotations_and_status_are_no_change() -> None:
    storage = SpecHashStorage()
    plain = storage.build(body=body({"a": 1}))
    marked = kopf.Body(
        {"metadata": {"labels": {"l": "1"}, "annotations": {"x": "y"}}, "spec": {"a": 1}, "status": {"b": 2}}
    )
    assert storage.build(body=marked) == plain
    assert storage.fetch(body=marked) is None


def test_the_hash_is_of_the_content() -> None:
    assert spec_hash({"a": 1, "b": [1, 2]}) == spec_hash({"b": [1, 2], "a": 1})
    assert spec_hash({"b": [1, 2]}) != spec_hash({"b": [2, 1]})


def test_kopf_is_set_up_to_write_under_our_prefix_alone() -> None:
    settings = build_settings()
    assert settings.persistence.finalizer.startswith("durabletimer.dev/")
    assert isinstance(settings.persistence.diffbase_storage, SpecHashStorage)
    assert (settings.peering.standalone, settings.scanning.disabled, settings.posting.enabled) == (True, True, False)


def test_no_handler_makes_kopf_put_its_finalizer_on_objects() -> None:
    registry = build_registry()
    handlers = list(registry._changing.get_all_handlers())
    assert len(handlers) == 6
    assert not [handler for handler in handlers if handler.requires_finalizer]
    assert not list(registry._spawning.get_all_handlers())
