"""Durable Timer: timers kept in a database, delivered as HTTP callbacks, through crashes and failovers."""

__version__ = "0.1.0"
