"""Gather, plan, apply: what the operator makes of TimerGroups and Timers, and who is to own which shard."""
