"""TimerGroup manifests from files, registered in the store."""
