"""What tests of several files are given."""

import pytest

from scripts.serving import archive
from tests.factories import tiny_artifact


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """/opt/ml with a tiny model, as SageMaker unpacks it."""
    base = tmp_path_factory.mktemp("ml")
    artifact = tiny_artifact(tmp_path_factory.mktemp("tiny") / "artifact")
    for name, source in archive.tarball_members(artifact).items():
        place = base / "model" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    return base
