"""Each rule refuses what it is there to refuse."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.architecture import test_house_style as style
from tests.architecture import test_layers as layers
from tests.architecture.source_tree import SourceModule

Rule = Callable[[list[SourceModule]], None]


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        pytest.param(
            layers.test_the_runtime_imports_no_service,
            "slmesh/mesh/host.py",
            "def load():\n    from slmesh.slm.intent import service\n",
            id="runtime-imports-service-late",
        ),
        pytest.param(
            layers.test_the_runtime_imports_no_service,
            "slmesh/mesh/host.py",
            "from ..router import flow\n",
            id="runtime-imports-service-relatively",
        ),
        pytest.param(
            layers.test_model_parts_import_no_service,
            "slmesh/tiers/linear.py",
            "import slmesh.platform.up\n",
            id="part-imports-platform",
        ),
        pytest.param(
            layers.test_services_meet_only_through_contracts,
            "slmesh/slm/intent/service.py",
            "from slmesh.slm.guard import redact\n",
            id="service-imports-service",
        ),
        pytest.param(
            layers.test_services_meet_only_through_contracts,
            "slmesh/router/engine.py",
            "from slmesh.reasoner.prompt import build\n",
            id="router-imports-reasoner",
        ),
        pytest.param(
            layers.test_domain_code_imports_neither_ray_nor_grpc,
            "slmesh/router/cascade.py",
            "import grpc.aio\n",
            id="cascade-imports-grpc",
        ),
        pytest.param(
            layers.test_domain_code_imports_neither_ray_nor_grpc,
            "slmesh/slm/intent/service.py",
            "from slmesh.api.rank.v1 import rank_pb2_grpc\n",
            id="service-imports-stubs",
        ),
        pytest.param(
            layers.test_only_the_edge_imports_ray,
            "slmesh/cli/app.py",
            "from ray import serve\n",
            id="command-imports-ray",
        ),
        pytest.param(
            style.test_no_model_is_loaded_through_pickle,
            "slmesh/tiers/linear.py",
            "from pickle import loads\n",
            id="pickle",
        ),
        pytest.param(
            style.test_no_model_is_loaded_through_pickle,
            "slmesh/tiers/linear.py",
            "import torch\nweights = torch.load('model.pt')\n",
            id="torch-load",
        ),
        pytest.param(
            style.test_no_model_is_loaded_through_pickle,
            "slmesh/tiers/linear.py",
            "import numpy as np\nweights = np.load('model.npy', allow_pickle=True)\n",
            id="numpy-pickle",
        ),
        pytest.param(
            style.test_only_the_settings_read_the_environment,
            "slmesh/cli/app.py",
            "import os\ncolour = os.getenv('NO_COLOR')\n",
            id="getenv",
        ),
        pytest.param(
            style.test_only_the_settings_read_the_environment,
            "slmesh/cli/app.py",
            "from os import environ\n",
            id="environ",
        ),
        pytest.param(
            style.test_no_function_is_long,
            "slmesh/cli/app.py",
            "def run():\n" + "    step = 1\n" * 59,
            id="long-function",
        ),
        pytest.param(
            style.test_no_file_is_long, "slmesh/cli/app.py", "step = 1\n" * 400, id="long-file"
        ),
        pytest.param(
            style.test_every_public_module_says_what_it_is_for,
            "slmesh/cli/app.py",
            "step = 1\n",
            id="no-docstring",
        ),
    ],
)
def test_a_rule_finds_what_it_forbids(rule: Rule, path: str, source: str, tmp_path: Path) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    with pytest.raises(AssertionError, match=file.name):
        rule([SourceModule(file, tmp_path)])


@pytest.mark.parametrize(
    ("path", "banned"),
    [
        pytest.param("text_utils.py", True, id="word-of-a-name"),
        pytest.param("common", True, id="folder"),
        pytest.param("base-model.yaml", True, id="with-hyphen"),
        pytest.param("database.py", False, id="part-of-a-word"),
        pytest.param("scores.py", False, id="contains-core"),
    ],
)
def test_a_name_is_banned_by_its_words(path: str, banned: bool) -> None:
    assert style.is_banned(Path(path)) is banned
