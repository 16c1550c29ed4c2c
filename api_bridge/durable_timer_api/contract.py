"""api.yaml as the package carries it: its text, and a page made of it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from durable_timer_api.docs_page import render_page


@cache
def contract_text() -> bytes:
    """The contract as it is served."""
    return (files("durable_timer_api") / "api.yaml").read_bytes()


@cache
def docs_page() -> str:
    """The contract as one HTML page that loads nothing."""
    document: dict[str, Any] = yaml.safe_load(contract_text())
    return render_page(document)
