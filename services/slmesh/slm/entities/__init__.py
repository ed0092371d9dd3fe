"""The entities service: typed, normalised fields with their spans."""
