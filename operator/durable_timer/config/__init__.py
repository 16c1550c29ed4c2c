"""What a process is told: settings from flags, environment, file and defaults, in that order."""

from durable_timer.config.settings import (
    DatabasePart,
    EnginePart,
    HttpPart,
    LogPart,
    Settings,
    TracingPart,
    split_listen,
)
from durable_timer.config.sources import Flags, load

__all__ = [
    "DatabasePart",
    "EnginePart",
    "Flags",
    "HttpPart",
    "LogPart",
    "Settings",
    "TracingPart",
    "load",
    "split_listen",
]
