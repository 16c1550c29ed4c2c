"""The status page `/ui`: what the stores say about groups, pools and members, for people."""
