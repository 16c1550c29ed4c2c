"""Faults: the service as real processes under a load of all kinds, killed, paused and cut off, its promises counted."""
