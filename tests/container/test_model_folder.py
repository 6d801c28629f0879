"""Archives and settings that no model should have: each is refused with one sentence."""

import gzip
import io
import random
import tarfile
import zipfile

import pytest

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
