"""What a group, a timer, a shard and an outcome are."""
