"""The notebook: every cell runs against moto and a real server behind the gateway, and the outputs in the file are of such a run.

    python -m tests.aws.test_notebook http://127.0.0.1:8080     runs it with the server there and writes its outputs into the file

Docker is a stand-in that builds nothing. Its push puts an image into moto's ECR, since that is where `deploy` looks for one.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from handler import __version__
from scripts.common.paths import ROOT
from tests.gateway import ACCOUNT, REGION

HOW = "pip install -r scripts/aws/notebook-requirements.txt -r tests/requirements.txt"
nbclient = pytest.importorskip("nbclient", reason=HOW)
nbformat = pytest.importorskip("nbformat", reason=HOW)
for name in "moto", "ipykernel", "matplotlib", "flask", "flask_cors":  # the server of moto needs the last two
    pytest.importorskip(name, reason=HOW)

from tests.aws.simulation import environment, simulation  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # those of Jupyter and Flask

NOTEBOOK = ROOT / "scripts" / "aws" / "synpg_sagemaker.ipynb"
IGNORED = shutil.ignore_patterns("__pycache__", "*.mar", "*.tar.gz")
DOCKER = """#!{python}
import json, os, sys
import boto3
match sys.argv[1:]:
    case ["info", *_]:
        print("stand-in")
    case ["build", *_]:
        print("(a stand-in for docker: nothing is built)")
    case ["image", "inspect", "--format", *_]:
        print("amd64")
    case ["image", "inspect", tag]:
        print(json.dumps([{{"Size": 0, "Id": "sha256:" + "0" * 64}}]))
    case ["login", *_]:
        sys.stdin.read()
    case ["push", image]:
        name, tag = image.split("/", 1)[1].rsplit(":", 1)
        digest = "sha256:" + "0" * 64
        manifest = {{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "config": {{"digest": digest, "size": 1}}, "layers": []}}
        boto3.client("ecr").put_image(repositoryName=name, imageTag=tag, imageManifest=json.dumps(manifest))
"""


def stand_in(folder: Path) -> Path:
    """A folder with a `docker` command, and with the `python` that runs the tests."""
    folder.mkdir()
    (folder / "docker").write_text(DOCKER.format(python=sys.executable))
    (folder / "docker").chmod(0o755)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # a link would be another environment
    (folder / "python").chmod(0o755)
    return folder


def checkout(folder: Path) -> Path:
    """What the notebook needs of the project, so that nothing is written into this one."""
    for name in "handler", "scripts":
        shutil.copytree(ROOT / name, folder / name, ignore=IGNORED)
    shutil.copytree(ROOT / "model_store" / "demo", folder / "model_store" / "demo")
    return folder


def execute(folder: Path, url: str):
    """The notebook with the outputs of a run in `folder`. Raises CellExecutionError."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    place = checkout(folder / "project")
    with simulation({"synpg-serverless": url, "synpg-realtime": url}, url) as (moto, gateway):
        client = nbclient.NotebookClient(
            book,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(place / "scripts" / "aws")}},
            record_timing=False,
            coalesce_streams=True,
        )
        path = stand_in(folder / "bin")
        more = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "MPLCONFIGDIR": str(path)}
        client.execute(env={**environment(moto, gateway), **more})
    return book


@pytest.fixture(scope="module")
def executed(server, tmp_path_factory):
    return execute(tmp_path_factory.mktemp("notebook"), server.url)


def printed(book, start: str) -> str:
    """What the cell printed whose source has a line that begins so."""
    [cell] = [cell for cell in book.cells if cell.cell_type == "code" and re.search(rf"^{re.escape(start)}", cell.source, re.M)]
    return "".join(text(output) for output in cell.outputs)


def text(output) -> str:
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return data.get("text/markdown") or data.get("text/plain") or "\n".join(output.get("traceback", []))


def test_every_cell_runs_and_says_what_it_should(executed):
    assert printed(executed, 'print("account"') == f"account {ACCOUNT} in {REGION}\n"
    assert f"synpg-torchserve:{__version__}-cpu" in printed(executed, "python -m scripts.push_image")
    assert f"synpg.tar.gz built: version {__version__}" in printed(executed, "python -m scripts.build_archive")
    for mode in "serverless", "realtime":
        assert f'"endpoint": "synpg-{mode}"' in printed(executed, f"python -m scripts.deploy {mode}")
    assert "picnic" in printed(executed, "ask({")
    assert printed(executed, "answer = Answer(").count("(") == 0  # a drawing, not brackets
    table = printed(executed, "SST2 = [").splitlines()
    assert len(table) == 8 and {line.count("|") for line in table} == {5}
    lines = [json.loads(line) for line in printed(executed, "requests = ").splitlines()]
    assert [type(line) for line in lines] == [str] * 6 + [dict] and lines[-1]["error"]["message"] == "is empty"
    batch = printed(executed, "python -m scripts.deploy batch")
    assert '"job": "synpg-batch-' in batch and all(json.dumps(line) in batch for line in lines[:2])
    assert "kept: []" in printed(executed, "python -m scripts.delete")
    assert printed(executed, "sagemaker = ") == "endpoints: []\nmodels: []\n"


def kinds(book) -> list[list]:
    """Of each code cell's outputs, what they are; two texts in a row on one stream count as one."""
    found = [[(o.output_type, o.get("name"), *sorted(o.get("data", {}))) for o in cell.outputs] for cell in book.cells if "outputs" in cell]
    return [sorted(set(one)) for one in found]


def test_the_outputs_in_the_file_are_of_such_a_run(executed):
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    assert kinds(kept) == kinds(executed)
    assert [cell.execution_count for cell in kept.cells if "outputs" in cell] == list(range(1, len(kinds(kept)) + 1))
    assert f"version {__version__}" in printed(kept, "python -m scripts.build_archive")


def test_the_file_is_small_and_names_no_place_of_the_machine_it_ran_on():
    content = NOTEBOOK.read_text(encoding="utf-8")
    assert len(content) < 150_000
    assert not re.search(r"/(?:tmp|home|root|work|var|Users)/", re.sub(r'"image/png": "[^"]*"', "", content))


def write(url: str) -> None:
    """Run it and keep the outputs, without what only this run's machine is."""
    with tempfile.TemporaryDirectory() as folder:
        book = execute(Path(folder), url)
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book.cells:
        cell.metadata = {}
    NOTEBOOK.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1])
