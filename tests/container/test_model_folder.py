"""The model folder: a model is found however it lies there; archives and settings that no model should have are one sentence."""

import gzip
import io
import json
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from scripts.common.paths import ROOT
from scripts.container.environment import SettingsError
from scripts.container.model_folder import find_model, link_model, model_config

DEEP = "[" * 100_000
NOISE = random.Random(1).randbytes(50_000)  # does not compress, so a changed byte of the archive is a changed byte of it


def mar(method: int = zipfile.ZIP_DEFLATED, **contents: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in (contents or {"noise": NOISE}).items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar(**contents: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (contents or {"noise": NOISE, "more": b"x"}).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def changed(data: bytes, place: int, count: int = 1) -> bytes:
    return data[:place] + bytes(byte ^ 0xFF for byte in data[place : place + count]) + data[place + count :]


def in_headers(data: bytes, local: int, central: int, value: int) -> bytes:
    """A zip file with another byte in the headers of every member; local, central: where it is in the two kinds of headers."""
    for magic, offset in (b"PK\x03\x04", local), (b"PK\x01\x02", central):
        start = -1
        while (start := data.find(magic, start + 1)) >= 0:
            data = data[: start + offset] + bytes([value]) + data[start + offset + 1 :]
    return data


DAMAGED = {
    "encrypted.mar": (in_headers(mar(), 6, 8, 1), "it is encrypted"),
    "method.mar": (in_headers(mar(), 8, 10, 77), "That compression method is not supported"),
    "version.mar": (in_headers(mar(), 4, 6, 127), "zip file version 12.7"),
    "stored.mar": (changed(mar(zipfile.ZIP_STORED), 5000), "Bad CRC-32 for file 'noise'"),
    "deflated.mar": (changed(mar(), 5000, 40), "Bad CRC-32 for file 'noise'"),
    "lzma.mar": (changed(mar(zipfile.ZIP_LZMA), 100, 40), "Corrupt input data"),
    "cut.mar": (mar()[:-200], "File is not a zip file"),
    "flipped.tgz": (changed(gzip.compress(tar()), 25_000), "CRC check failed .*"),
    "flipped.tar.gz": (changed(gzip.compress(tar()), 25_000), "CRC check failed .*"),
    "cut.tgz": (gzip.compress(tar())[:25_000], "Compressed file ended before .*"),
    "checksum.tgz": (changed(gzip.compress(tar()), -6 + len(gzip.compress(tar()))), "CRC check failed .*"),
    "header.tgz": (gzip.compress(changed(tar(), 50_688 + 10, 90)), "something other than a file or folder follows in it"),
    "plain.tgz": (tar(), "Not a gzipped file .*"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_one_sentence(tmp_path, name):
    data, reason = DAMAGED[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(SettingsError, match=rf"^\S+/{name} is not a (model archive|tarball), or it is damaged: {reason}\.$"):
        find_model(tmp_path / "in", tmp_path, tmp_path / "scratch")


@pytest.mark.parametrize("name", ["deep.mar", "deep.tgz"])
@pytest.mark.parametrize("depth", [33, 900, 2000])
def test_folders_that_are_too_deep_are_one_sentence(tmp_path, name, depth):
    contents = {"d/" * depth + "x": b"x"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(mar(**contents) if name.endswith("mar") else gzip.compress(tar(**contents)))
    with pytest.raises(SettingsError, match=rf"^\S+/{name} has folders in it that are more than 32 deep\.$"):
        find_model(tmp_path / "in", tmp_path, tmp_path / "scratch")
    assert not list((tmp_path / "scratch" / "unpacked").iterdir())


@pytest.mark.parametrize(
    "text, said",
    [
        (DEEP, "cannot be read: it is nested too deep"),
        ("- " * 100_000, "cannot be read: it is nested too deep"),
        ("a: 2001-99-99", "cannot be read: month must be in 1..12"),
        ("a: !!timestamp x", "cannot be read: its contents are not what they should be"),
        ("a: [", "cannot be read: while parsing .*"),
        ("handler: null", "is not a list of settings"),
        ("handler: {max_body_bytes: x}", "handler.max_body_bytes must be a whole number of at least 1, not 'x'"),
        ("handler: {max_body_rows: .inf}", "handler.max_body_rows must be a whole number of at least 1, not 'inf'"),
        ("handler: {max_rows: true}", "handler.max_rows must be a whole number of at least 1, not 'True'"),
        ("batchSize: x", "batchSize must be a whole number of at least 1, not 'x'"),
        ("batchSize: 0", "batchSize must be a whole number of at least 1, not '0'"),
        ("startupTimeout: []", r"startupTimeout must be a whole number of at least 1, not '\[\]'"),
        ("maxRetryTimeoutInSec: 1.5", "maxRetryTimeoutInSec must be a whole number of at least 0, not '1.5'"),
    ],
    ids=range(13),
)
def test_settings_that_cannot_be_meant_are_one_sentence(tmp_path, text, said):
    (tmp_path / "model-config.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"^\S+/model-config\.yaml:? {said}\.$"):
        model_config(tmp_path)


def test_the_settings_that_ship_are_accepted():
    assert model_config(ROOT / "handler")["batchSize"] == 12


@pytest.mark.parametrize("text", [DEEP, "[]", "null", '{"model": 3}', '{"model": []}', "x"], ids=range(6))
def test_a_manifest_that_describes_no_model_is_one_sentence(tmp_path, text):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(text)
    with pytest.raises(SettingsError, match=r"^\S+/MANIFEST\.json is not a manifest: [^:]+(: line 1 column 1 \(char 0\))?\.$"):
        link_model(tmp_path, tmp_path / "store", {}, "1")


def packed(folder: Path, kind: str, source: Path) -> Path:
    """A folder with an archive of `source` in it."""
    folder.mkdir(parents=True)
    if kind == "mar":
        with zipfile.ZipFile(folder / "synpg.mar", "w") as archive:
            for file in source.rglob("*"):
                archive.write(file, file.relative_to(source))
    else:
        with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
            archive.add(source, "synpg" if kind == "tar with a folder" else ".")
    return folder


def test_a_model_is_found_however_it_lies_there(tmp_path, unpacked):
    model, baked = unpacked / "model", tmp_path / "baked"
    assert find_model(model, baked, tmp_path) == model
    (tmp_path / "empty" / "lost+found").mkdir(parents=True)
    assert find_model(tmp_path / "empty", baked, tmp_path) == find_model(tmp_path / "none", baked, tmp_path) == baked
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "synpg").symlink_to(model)
    assert find_model(tmp_path / "outer", baked, tmp_path) == tmp_path / "outer" / "synpg"
    for kind in "mar", "tar", "tar with a folder":
        found = find_model(packed(tmp_path / kind, kind, model), baked, tmp_path / f"scratch of {kind}")
        assert (found / "MAR-INF" / "MANIFEST.json").is_file() and (found / "artifact" / "config.json").is_file()


def test_what_is_no_model_is_one_sentence(tmp_path, unpacked):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pth").write_bytes(b"x")
    with pytest.raises(
        SettingsError,
        match=r"^.*other is not a model that this container serves: it has no MAR-INF/MANIFEST\.json, but "
        r"model\.pth; .*\.$",
    ):
        find_model(tmp_path / "other", tmp_path, tmp_path)
    for kind, cut in ("mar", "synpg.mar"), ("tar", "model.tar.gz"):
        archive = packed(tmp_path / kind, kind, unpacked / "model") / cut
        archive.write_bytes(archive.read_bytes()[:-200])
        with pytest.raises(SettingsError, match=rf"^.*{cut} is not a .*, or it is damaged: .*\.$"):
            find_model(tmp_path / kind, tmp_path, tmp_path / f"scratch of {kind}")


@pytest.mark.parametrize("name, kind", [("../outside", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("/etc/outside", tarfile.REGTYPE)])
def test_a_tarball_stays_in_its_folder(tmp_path, name, kind):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "model.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(SettingsError, match="which is not a file or folder of its own"):
        find_model(tmp_path / "in", tmp_path, tmp_path / "scratch")
    assert not (tmp_path / "outside").exists()


def test_the_model_is_linked_and_its_settings_replaced(tmp_path, unpacked):
    link_model(unpacked / "model", tmp_path / "store" / "synpg", {"batchSize": 3}, "2")
    store = tmp_path / "store" / "synpg"
    assert (store / "artifact").is_symlink() and (store / "handler" / "pipeline.py").is_file()
    assert yaml.safe_load((store / "model-config.yaml").read_text()) == {"batchSize": 3}
    manifest = json.loads((store / "MAR-INF" / "MANIFEST.json").read_text())["model"]
    assert (manifest["configFile"], manifest["modelVersion"]) == ("model-config.yaml", "2")
