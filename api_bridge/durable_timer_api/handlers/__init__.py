"""The operations of the contract: each parses, makes its store calls, answers."""
