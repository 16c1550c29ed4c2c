"""Pure decisions: sharding, assignment, retry, schedules. Nothing here awaits, reads a clock or does I/O."""
