"""The ranker of knowledge passages."""
