"""`python -m durable_timer` is `durable-timer`."""

from durable_timer.cli import main

main()
