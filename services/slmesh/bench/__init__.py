"""Measures the mesh: what a hop costs, what memory it takes, how long it needs to start."""
