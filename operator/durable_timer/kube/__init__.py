"""What talks to the Kubernetes API: nothing else knows its client."""
