"""Which of the pinned packages are missing or damaged: `python -m scripts.common.installed REQUIREMENTS…`, for setup.sh.

Prints `name==version` for each, one a line. Imports nothing that has to be installed.
"""

import re
import sys
from importlib import metadata
from pathlib import Path


def pins(text: str) -> dict[str, str]:
    """Name -> version of the lines `name==version` of a requirements.txt."""
    return dict(re.findall(r"^([\w.-]+)==([^\s#]+)", text, re.M))


def is_whole(name: str, version: str) -> bool:
    """Whether a package is there in this version (perhaps a local build of it), with every file and folder of its top level."""
    try:
        found = metadata.distribution(name)
        place = Path(str(found.locate_file("")))
        tops = {re.split("[/,]", line, maxsplit=1)[0] for line in (found.read_text("RECORD") or "").splitlines()} - {"", ".."}
        return str(found.version).partition("+")[0] == version and bool(tops) and all((place / top).exists() for top in tops)
    except (metadata.PackageNotFoundError, OSError, ValueError, TypeError, KeyError):  # the package's own record is damaged
        return False


def main(files: list[str]) -> int:
    wanted: dict[str, str] = {}
    for file in files:
        wanted |= pins(Path(file).read_text(encoding="utf-8"))
    for name, version in wanted.items():
        if not is_whole(name, version):
            print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
