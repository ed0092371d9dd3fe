"""Evaluates services on files of known formats, through the code that serves them."""

from slmesh.evaluation.cases import Cases
from slmesh.evaluation.evaluate import evaluate, local_mesh, with_tier
from slmesh.evaluation.reading import read_cases
from slmesh.evaluation.subject import Subject, manifest_of, subject_of

__all__ = [
    "Cases",
    "Subject",
    "evaluate",
    "local_mesh",
    "manifest_of",
    "read_cases",
    "subject_of",
    "with_tier",
]
