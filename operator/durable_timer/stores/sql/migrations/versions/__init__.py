"""One file a revision, numbered without a gap; the number is the schema's version."""
