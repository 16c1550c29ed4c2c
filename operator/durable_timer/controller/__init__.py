"""kopf, thin: what it hears of TimerGroups and Timers is handed on to `reconcile.core`."""
