"""The executor: membership, claims, take, delivery, settle and sweep."""
