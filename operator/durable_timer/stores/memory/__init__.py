"""The reference model of the store contract, in memory: for tests and simulation only, nothing survives the process."""

from durable_timer.stores.memory.database import MemoryDatabase
from durable_timer.stores.memory.store import Hooks, MemoryStore

__all__ = ["Hooks", "MemoryDatabase", "MemoryStore"]
