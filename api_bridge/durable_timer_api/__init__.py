"""The REST API: requests in, store calls, answers out."""
