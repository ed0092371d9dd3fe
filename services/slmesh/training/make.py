"""Makes the bundle of a recipe of any contract that has two tiers."""

from __future__ import annotations

from pathlib import Path

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.naming import suggestion
from slmesh.training.classify import train_classifier
from slmesh.training.recipe import load_recipe
from slmesh.training.score import train_scorer
from slmesh.weights.fetch import Progress, silent

__all__ = ["train"]

_TRAINERS = {"classify": train_classifier, "score": train_scorer}


def train(
    name: str,
    models_dir: Path,
    data_dir: Path,
    cache_dir: Path,
    progress: Progress = silent,
) -> Bundle:
    """Train a model and write its bundle into ``models_dir/name/version``.

    Args:
        name: A folder of ``models_dir`` with a ``recipe.yaml``.
        models_dir: The folder of all models.
        data_dir: The folder of all data sets.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.

    Raises:
        NotFound: There is no such recipe; the nearest one is named.
        FailedPrecondition: The recipe or a data file is not as expected.
    """
    path = models_dir / name / "recipe.yaml"
    if not path.is_file():
        known = [found.parent.name for found in models_dir.glob("*/recipe.yaml")]
        raise NotFound(f"no recipe '{name}'{suggestion(name, known)}", reason="RECIPE_NOT_FOUND")
    recipe = load_recipe(path)
    if recipe.contract not in _TRAINERS:
        raise FailedPrecondition(
            f"{path}: no trainer for '{recipe.contract}'{suggestion(recipe.contract, _TRAINERS)}",
            reason="INVALID_RECIPE",
        )
    return _TRAINERS[recipe.contract](recipe, data_dir, cache_dir, progress)
