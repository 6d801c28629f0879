"""What reading a damaged file raises, and how a user is told."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

# Of archives. RuntimeError covers encrypted members, unknown kinds of compression and recursion that went too deep.
DAMAGED = zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError
# Of JSON and YAML: no such text, and a value that has other contents than it should.
MALFORMED = ValueError, RecursionError, TypeError, LookupError, AttributeError


def reason(error: BaseException) -> str:
    """What is wrong with the file, as the end of a sentence without its full stop."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, (TypeError, LookupError, AttributeError)):
        return "its contents are not what they should be"
    if "is encrypted" in str(error):
        return "it is encrypted"
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__


def check_members(file: Path) -> None:
    """Read every member of a zip file and compare it with its checksum. Raises one of `DAMAGED`, or OSError."""
    with zipfile.ZipFile(file) as stored:
        broken = stored.testzip()
    if broken is not None:
        raise _changed(broken)


def unpack_members(file: Path, into: Path) -> None:
    """Unpack a zip file; every member is compared with its checksum. Raises one of `DAMAGED`, or OSError."""
    with zipfile.ZipFile(file) as stored:
        for member in stored.infolist():
            try:
                stored.extract(member, into)  # leaves out drives, roots and `..`
            except zipfile.BadZipFile as error:
                raise _changed(member.filename) if "CRC" in str(error) else error from None


def _changed(member: str) -> zipfile.BadZipFile:
    return zipfile.BadZipFile(f"{ascii(member)[1:-1][:80]} does not match its checksum")
