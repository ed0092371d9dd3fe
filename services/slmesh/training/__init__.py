"""Training: from a recipe and public data to a bundle. Needs the extra ``train``."""
