"""Fixtures with a real archive or a real TorchServe. Each is made once a run, outside the repository."""

import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from scripts.common.paths import DEMO
from scripts.serving import archive
from scripts.serving.server import Server, stop
from tests.factories import tiny_artifact

SERVERS = {"server", "state_factory"}  # a test that uses one of these fixtures, itself or through another, starts a TorchServe
FOLDERS = {"container/engine": ("container", "slow"), "gpu/test_gpu.py": ("gpu",)}


def pytest_collection_modifyitems(items):
    """Markers that follow from where a test lies and from what it uses; the others stand at the tests."""
    here = Path(__file__).parent
    for item in items:
        names = [name for folder, names in FOLDERS.items() if item.path.is_relative_to(here / folder) for name in names]
        if SERVERS & set(getattr(item, "fixturenames", ())):
            names += ["server", "slow"]
        for name in names:
            item.add_marker(name)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other make tiny networks many times slower on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory) -> Path:
    """A real synpg.mar with two networks of a few thousand random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    archive.build(tiny_artifact(folder / "artifact"), folder / "synpg.mar")
    return folder / "synpg.mar"


@pytest.fixture(scope="session")
def demo_archive(tmp_path_factory) -> Path:
    """A real synpg.mar of the model that the repository ships."""
    if not (DEMO / "manifest.json").is_file():
        pytest.skip("there is no model_store/demo")
    output = tmp_path_factory.mktemp("demo") / "synpg.mar"
    archive.build(DEMO, output)
    return output


@pytest.fixture(scope="session")
def server(demo_archive, state_factory):
    """TorchServe on free ports with the shipped model, up for the whole run."""
    with Server(demo_archive, state_factory(), port=0) as running:
        yield running


@pytest.fixture(scope="session")
def state_factory():
    """Makes state folders for servers; whatever still runs in one of them at the end is stopped."""
    folders = []

    def make() -> Path:
        folders.append(Path(tempfile.mkdtemp(prefix="serve-")))
        return folders[-1]

    yield make
    for folder in folders:
        stop(folder)
        shutil.rmtree(folder, ignore_errors=True)
