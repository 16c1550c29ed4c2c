"""The contract as one HTML page, rendered here: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any


def render_page(document: dict[str, Any]) -> str:
    """The page of an OpenAPI 3.0 document."""
    return f"<!doctype html><title>{escape(document['info']['title'])}</title>"
