"""Sizes, names and dangerous calls, checked over the source tree."""

import ast
from pathlib import Path

from tests.architecture.source_tree import REPOSITORY, SourceModule

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
BANNED_NAMES = {
    "base",
    "common",
    "core",
    "handler2",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "processor",
    "processors",
    "util",
    "utils",
}
NAMED_FOLDERS = ("services", "tests", "models", "protos", "infra")
PICKLES = {"_pickle", "cloudpickle", "cPickle", "dill", "joblib", "marshal", "pickle", "shelve"}
MAY_READ_ENVIRONMENT = {
    "services/slmesh/mesh/settings.py": "the one file that reads settings",
    "services/slmesh/weights/fetch.py": "hands the environment on to pip, and reads nothing in it",
}


def test_no_path_has_a_name_that_says_nothing() -> None:
    paths = [
        path
        for folder in NAMED_FOLDERS
        for path in (REPOSITORY / folder).rglob("*")
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
    found = [path.relative_to(REPOSITORY).as_posix() for path in paths if is_banned(path)]
    assert not found, f"name these after a noun or verb of the field: {found}"


def is_banned(path: Path) -> bool:
    """Return whether one of the words of a file's or folder's name is banned."""
    words = path.name.split(".")[0].lower().replace("-", "_").split("_")
    return not BANNED_NAMES.isdisjoint(words)


def test_no_file_is_long(own_modules: list[SourceModule]) -> None:
    lengths = {m.place: len(m.path.read_text(encoding="utf-8").splitlines()) for m in own_modules}
    found = [f"{place}: {n} lines" for place, n in lengths.items() if n >= MAX_FILE_LINES]
    assert not found, f"files stay under {MAX_FILE_LINES} lines:\n" + "\n".join(found)


def test_no_function_is_long(own_modules: list[SourceModule]) -> None:
    found = [
        f"{module.place}:{node.lineno} {node.name}: {length} lines"
        for module in own_modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) >= MAX_FUNCTION_LINES
    ]
    assert not found, f"functions stay under {MAX_FUNCTION_LINES} lines:\n" + "\n".join(found)


def test_every_public_module_says_what_it_is_for(own_modules: list[SourceModule]) -> None:
    found = [
        module.place
        for module in own_modules
        if module.tree.body and not is_private(module) and not ast.get_docstring(module.tree)
    ]
    assert not found, f"these modules have no docstring: {found}"


def is_private(module: SourceModule) -> bool:
    """Return whether a module is not for others to import."""
    stem = module.path.stem
    return stem.startswith("_") and stem != "__init__"


def test_no_model_is_loaded_through_pickle(mesh_modules: list[SourceModule]) -> None:
    found = [
        f"{module.place}:{line} {what}"
        for module in mesh_modules
        for line, what in [*pickle_imports(module), *pickle_calls(module)]
    ]
    assert not found, "weights are safetensors, ONNX or GGUF, never pickles:\n" + "\n".join(found)


def pickle_imports(module: SourceModule) -> list[tuple[int, str]]:
    """Return the imports of modules that run code when they read a file."""
    return [(line, f"imports {n}") for n, line in module.imports() if n.split(".")[0] in PICKLES]


def pickle_calls(module: SourceModule) -> list[tuple[int, str]]:
    """Return the calls that unpickle without an import of pickle."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    loads = [(call.lineno, "calls torch.load") for call in calls if is_torch_load(call.func)]
    allowed = [
        (call.lineno, "allows pickle")
        for call in calls
        for keyword in call.keywords
        if keyword.arg == "allow_pickle"
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    return loads + allowed


def is_torch_load(function: ast.expr) -> bool:
    """Return whether an expression is `torch.load`."""
    return ast.unparse(function) in {"torch.load", "torch.jit.load", "torch.package.load"}


def test_only_the_settings_read_the_environment(mesh_modules: list[SourceModule]) -> None:
    found = [
        f"{module.place}:{line}"
        for module in mesh_modules
        if module.place not in MAY_READ_ENVIRONMENT
        for line in environment_reads(module)
    ]
    assert not found, "only slmesh.mesh.settings reads the environment:\n" + "\n".join(found)


def environment_reads(module: SourceModule) -> list[int]:
    """Return the lines that touch the environment of the process."""
    attributes = [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    ]
    names = [line for name, line in module.imports() if name in {"os.environ", "os.getenv"}]
    return attributes + names


def test_every_exception_is_still_needed(mesh_modules: list[SourceModule]) -> None:
    by_place = {module.place: module for module in mesh_modules}
    stale = [
        place
        for place in MAY_READ_ENVIRONMENT
        if place not in by_place or not environment_reads(by_place[place])
    ]
    assert not stale, f"these need no exception any more: {stale}"
