"""The engines of the reasoner, all behind ``engine.Engine``."""
