"""The archive has exactly its sources, can be imported on its own, and is never half-written."""

import inspect
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from handler import __version__, artifacts, weights
from handler.cpu.graph import quantised
from handler.errors import ArtifactError
from handler.wire.request import read_request
from scripts.build_archive import main
from scripts.common.paths import DEMO, ROOT
from scripts.serving.archive import ArchiveError, build, check, served
from tests.factories import tiny_artifact

# Run where only the unpacked archive can be imported, as in a worker.
IMPORT_ENTRY = """
import inspect, json, os, sys
import synpg_handler, handler.artifacts
print(json.dumps({
    "classes": [name for name, _ in inspect.getmembers(synpg_handler, lambda x: inspect.isclass(x) and
                                                       x.__module__ == "synpg_handler")],
    "files": [module.__file__ for name, module in sys.modules.items()
              if name.split(".")[0] in ("synpg_handler", "handler", "scripts", "tests")],
}))
"""


TOP = {"synpg_handler.py", "sitecustomize.py"}  # of the archive, in the repository in `handler/`


@pytest.fixture()
def artifact(tmp_path):
    return tiny_artifact(tmp_path / "artifact")


def test_members_are_the_sources_and_the_manifest(tiny_archive):
    with zipfile.ZipFile(tiny_archive) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    package = {str(file.relative_to(ROOT)) for file in (ROOT / "handler").rglob("*.py")} - {"handler/sagemaker_toolkit.py"}
    assert sorted(name for name in names if name.endswith(".py")) == sorted(package - {f"handler/{name}" for name in TOP} | TOP)
    assert {"model-config.yaml", "handler/wire/openapi.yaml", "artifact/config.json", "artifact/vocab.json"} <= set(names)
    assert manifest["model"] == {
        "modelName": "synpg",
        "modelVersion": __version__,
        "handler": "synpg_handler.py",
        "configFile": "model-config.yaml",
    }


def test_python_looks_for_less_garbage_while_a_worker_starts(tiny_archive, tmp_path):
    with zipfile.ZipFile(tiny_archive) as archive:
        archive.extractall(tmp_path)
    ask = [sys.executable, "-c", "import gc; print(gc.isenabled(), *gc.get_threshold())"]
    done = subprocess.run(ask, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "100000", "50", "50"] and done.stderr == ""


@pytest.mark.slow
def test_entry_imports_from_the_archive_alone_and_defines_one_class(tiny_archive, tmp_path):
    with zipfile.ZipFile(tiny_archive) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ENTRY], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["classes"] == ["SynPGHandler"]
    assert all(file.startswith(str(tmp_path)) for file in found["files"]), found["files"]


def test_builds_and_says_what_it_built(artifact, tmp_path, capsys):
    output = tmp_path / "out" / "other.mar"
    assert main(["--artifact", str(artifact), "--output", str(output)]) == 0
    with zipfile.ZipFile(output) as archive:
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelName"] == "other"
        count = len(archive.namelist())
    said = re.fullmatch(r"(.*) built: version (.*), (\d+) files, \d+\.\d MB\n", capsys.readouterr().out)
    assert said.groups() == (str(output), __version__, str(count))
    assert [file.name for file in output.parent.iterdir()] == ["other.mar"]


def test_if_changed_rebuilds_only_what_differs(artifact, tmp_path, capsys):
    output = tmp_path / "synpg.mar"
    arguments = ["--artifact", str(artifact), "--output", str(output), "--if-changed"]
    assert main(arguments) == 0
    before = output.stat().st_mtime_ns
    assert main(arguments) == 0
    assert output.stat().st_mtime_ns == before
    (artifact / "README.md").write_text("Made of nothing.\n")
    assert main(arguments) == 0
    assert output.stat().st_mtime_ns != before
    states = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert states == ["built:", "is", "built:"]


def test_private_temporary_folder(artifact, tmp_path, monkeypatch):
    """The archiver empties `synpg` in the temporary folder, whoever that belongs to."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    theirs = tmp_path / "synpg" / "theirs"
    theirs.parent.mkdir()
    theirs.touch()
    build(artifact, tmp_path / "out" / "synpg.mar")
    assert theirs.exists()


@pytest.mark.parametrize("case", ["damaged artifact", "no artifact", "bad model name", "not a .mar"])
def test_failure_is_a_sentence_and_leaves_what_was_there(case, artifact, tmp_path, capsys):
    output = tmp_path / "out" / "synpg.mar"
    sentence = {
        "damaged artifact": "vocab.json",
        "no artifact": "manifest.json: expected a file, found none",
        "bad model name": "torch-model-archiver failed: ",
        "not a .mar": "must end in .mar",
    }[case]
    if case == "damaged artifact":
        (artifact / "vocab.json").write_bytes((artifact / "vocab.json").read_bytes() + b" ")
    elif case == "no artifact":
        artifact = tmp_path / "nowhere"
    else:
        output = output.with_name({"bad model name": "a model.mar", "not a .mar": "synpg.zip"}[case])
    output.parent.mkdir()
    output.write_bytes(b"the one before")
    assert main(["--artifact", str(artifact), "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and "Traceback" not in said
    assert output.read_bytes() == b"the one before" and list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("member, content", [("handler/errors.py", b"# another\n"), ("extra.txt", b"not a source\n")])
def test_check_finds_what_differs(artifact, tmp_path, member, content):
    output = tmp_path / "synpg.mar"
    build(artifact, output)
    with zipfile.ZipFile(output) as good:
        contents = {name: good.read(name) for name in good.namelist()} | {member: content}
    with zipfile.ZipFile(output, "w") as bad:
        for name, data in contents.items():
            bad.writestr(name, data)
    with pytest.raises(ArchiveError, match=member):
        check(output, artifact)


@pytest.mark.parametrize("manifest", ["null", "[]", '{"model": null}', '{"model": []}', '{"model": {}}', "[" * 100_000, "x"], ids=range(7))
def test_an_archive_whose_manifest_describes_no_model_is_built_anew(artifact, tmp_path, manifest):
    output = tmp_path / "synpg.mar"
    build(artifact, output)
    with zipfile.ZipFile(output) as good:
        contents = {name: good.read(name) for name in good.namelist()} | {"MAR-INF/MANIFEST.json": manifest}
    with zipfile.ZipFile(output, "w") as bad:
        for name, data in contents.items():
            bad.writestr(name, data)
    with pytest.raises(ArchiveError, match=r"^synpg\.mar has no manifest that describes a model: .*\.$"):
        check(output, artifact)
    assert main(["--artifact", str(artifact), "--output", str(output), "--if-changed"]) == 0
    check(output, artifact)


@pytest.mark.parametrize("flag", [1, 0])
def test_an_archive_that_cannot_be_read_is_built_anew(artifact, tmp_path, flag):
    """flag: the members are marked as encrypted. Otherwise a byte of them is changed."""
    output = tmp_path / "synpg.mar"
    build(artifact, output)
    data = bytearray(output.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0 and flag:
        data[place + 8] |= flag
        place = data.find(b"PK\x01\x02", place + 1)
    if not flag:
        data[data.find(b"def ") + 1] ^= 1
    output.write_bytes(data)
    with pytest.raises(ArchiveError):
        check(output, artifact)
    assert main(["--artifact", str(artifact), "--output", str(output), "--if-changed"]) == 0
    check(output, artifact)


def test_the_entry_and_its_metrics_alone_import_torchserve():
    """The rest of the package can be used, and tested, without it."""
    for file in (ROOT / "handler").glob("*.py"):
        imports = re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.M)
        assert ("ts" in imports) == (file.name in ("synpg_handler.py", "metrics.py")), file.name
        assert inspect.cleandoc(file.read_text(encoding="utf-8")).startswith('"""'), f"{file.name} does not say what it is"


@pytest.fixture(scope="module")
def served_demo():
    """The shipped model as archives carry it."""
    with served(DEMO) as folder:
        yield folder


def test_archives_carry_the_weights_that_a_cpu_computes_with(served_demo):
    """Bit for bit the same logits, from fewer bytes."""
    config = artifacts.verify(served_demo)
    requests = [read_request({"sent": "the old man told a story .", "tmpl": "(ROOT (S (NP ) (VP ) (. )))", "details": True, "seed": 3})]
    found = []
    for folder in (DEMO, served_demo):
        pipeline = artifacts.load(folder, precision="int8")
        net = pipeline.text_generator.net
        bag, syntax = np.array([[7, 500, 40_000, 30]]), np.array([[1, 20, 30, 40, 2]])
        logits = net.verify(np.array([[1, 200, 300]]), net.encode(bag, syntax), [0])
        found.append((pipeline.run([row for request in requests for row in pipeline.plan(request)]), logits.tobytes()))
    assert found[0] == found[1]
    sizes = [sum((folder / f"{net}.safetensors").stat().st_size for net in artifacts.NETS) for folder in (DEMO, served_demo)]
    assert sizes[1] < 0.85 * sizes[0] and config.pipeline == artifacts.read_config(DEMO / "config.json").pipeline


def test_a_machine_without_fast_int8_serves_the_same_archive(served_demo):
    assert artifacts.load(served_demo, precision="fp32").text_generator.precision == "fp32"
    plain, rounded = (
        weights.load_net(folder / "paraphraser.safetensors", artifacts.read_config(DEMO / "config.json").paraphraser, torch.device("cpu"))
        for folder in (DEMO, served_demo)
    )
    for (name, one), other in zip(plain.state_dict().items(), rounded.state_dict().values()):
        step = one.abs().amax(-1, keepdim=True) / 127 if one.ndim == 2 and "embedding" not in name and name != "linear.weight" else 0.0
        assert ((one - other).abs() <= 0.501 * torch.as_tensor(step)).all(), name


def test_precision_of_the_archive(artifact, tmp_path, capsys):
    """Without ranges, or when it is asked for, weights are the artifact's own."""
    assert main(["--artifact", str(artifact), "--output", str(tmp_path / "tiny.mar")]) == 0
    check(tmp_path / "tiny.mar", artifact)
    for precision, own in (("fp32", True), ("int8", False)):
        output = tmp_path / "demo.mar"
        for said in ("built", "is up to date"):
            assert main(["--precision", precision, "--output", str(output), "--if-changed"]) == 0
            assert said in capsys.readouterr().out
        if own:
            check(output, DEMO)
        else:
            with pytest.raises(ArchiveError, match="paraphraser.safetensors differs|manifest.json differs"):
                check(output, DEMO)


def test_int8_of_an_archive_is_never_made_fp32_again(served_demo):
    """It would need four times the memory while the worker starts."""
    config = artifacts.read_config(served_demo / "config.json").paraphraser
    net, rounded = weights.load_rounded(served_demo / "paraphraser.safetensors", config)
    linear = "transformer.encoder.layers.0.linear1.weight"
    assert rounded[linear].weights.dtype == np.int8 and rounded[linear].scales.dtype == np.float32
    for name, weight in net.state_dict().items():
        assert weight.is_meta == (name in rounded), name
    plain = weights.load_net(served_demo / "paraphraser.safetensors", config, torch.device("cpu"))
    for name, weight in plain.state_dict().items():
        if name in rounded:
            again = quantised(weight.numpy())
            assert (again.weights == rounded[name].weights).all() and (again.scales == rounded[name].scales).all(), name


def test_embeddings_in_int8_are_looked_up_as_floats(served_demo, tmp_path):
    config = artifacts.read_config(served_demo / "config.json").parse_generator
    tensors, name = load_file(served_demo / "parse_generator.safetensors"), "embedding_encoder.weight"
    name = name if name in tensors else "embedding_decoder.weight"
    rounded = quantised(tensors[name].numpy())
    tensors[name], tensors[name + weights.SCALES] = map(torch.from_numpy, rounded)
    save_file(tensors, tmp_path / "parse_generator.safetensors")
    net, left = weights.load_rounded(tmp_path / "parse_generator.safetensors", config)
    assert name not in left and (net.state_dict()[name].numpy() == rounded.floats()).all()


@pytest.mark.parametrize("fault", ["short", "wide", "infinite"])
def test_scales_that_do_not_fit_are_one_sentence(served_demo, tmp_path, fault):
    config = artifacts.read_config(served_demo / "config.json").paraphraser
    tensors = load_file(served_demo / "paraphraser.safetensors")
    name = next(name for name in tensors if name.endswith(weights.SCALES))
    tensors[name] = {"short": tensors[name][:-1], "wide": tensors[name].double(), "infinite": tensors[name] * torch.inf}[fault]
    save_file(tensors, tmp_path / "paraphraser.safetensors")
    for load in weights.load_net, lambda file, config, _: weights.load_rounded(file, config):
        with pytest.raises(ArtifactError, match="finite" if fault == "infinite" else "int8 and scales"):
            load(tmp_path / "paraphraser.safetensors", config, torch.device("cpu"))
