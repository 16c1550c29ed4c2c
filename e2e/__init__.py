"""Faults in a real Kubernetes: the chart's pods under a load of all kinds, killed, rolled and cut off, promises counted."""
