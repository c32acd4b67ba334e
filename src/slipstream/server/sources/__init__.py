"""Where a daemon's events come from, and up to where each stream of them is settled."""
