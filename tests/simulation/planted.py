"""Bugs to plant, each in one place: the simulation has to find every one of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

PLANTED: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {}
