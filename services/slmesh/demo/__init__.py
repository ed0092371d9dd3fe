"""The messages of the demo, written for this project."""
