"""Makes the bundle of any recipe: the one entry to all training code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.naming import suggestion
from slmesh.training import ranking, screening, tagging
from slmesh.training.classify import train_classifier
from slmesh.training.extract import train_extractor
from slmesh.training.recipe import load_recipe
from slmesh.training.score import train_scorer
from slmesh.weights.fetch import Progress, silent

__all__ = ["find_recipe", "train"]

_TRAINERS = {"classify": train_classifier, "score": train_scorer, "extract": train_extractor}


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
    path = find_recipe(name, models_dir)
    if name in _BY_NAME:
        return _BY_NAME[name](path, data_dir, cache_dir, progress)
    recipe = load_recipe(path)
    if recipe.contract not in _TRAINERS:
        raise FailedPrecondition(
            f"{path}: no trainer for '{recipe.contract}'{suggestion(recipe.contract, _TRAINERS)}",
            reason="INVALID_RECIPE",
        )
    return _TRAINERS[recipe.contract](recipe, data_dir, cache_dir, progress)


def find_recipe(name: str, models_dir: Path) -> Path:
    """Return the path of a model's recipe.

    Raises:
        NotFound: There is none; the nearest is named.
    """
    path = models_dir / name / "recipe.yaml"
    if not path.is_file():
        known = [found.parent.name for found in models_dir.glob("*/recipe.yaml")]
        raise NotFound(
            f"no recipe '{name}' in {models_dir}{suggestion(name, known)}",
            reason="RECIPE_NOT_FOUND",
        )
    return path


def _entities(recipe: Path, data_dir: Path, _: Path, progress: Progress) -> Bundle:
    return tagging.train(recipe, data_dir, progress)


def _guard(recipe: Path, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    return screening.train(recipe, data_dir, cache_dir, _saying(progress))


def _passages(recipe: Path, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    return ranking.train(recipe, data_dir, cache_dir, _saying(progress))


def _saying(progress: Progress) -> Callable[[str], None]:
    """Return what tells of a step that does not know how far it is."""
    return lambda step: progress(step, 0.0)


_BY_NAME: dict[str, Callable[[Path, Path, Path, Progress], Bundle]] = {
    "entities": _entities,
    "guard": _guard,
    "passages": _passages,
}
"""Models whose services have weights of a shape of their own, so no other recipe trains like them."""
