"""What this container may use: cores and memory, as the kernel limits them."""

import os
import re
import resource
from pathlib import Path

OTHER_FILES = 100  # open besides connections


def cores() -> float:
    """Cores that this container may use."""
    usable = float(len(os.sched_getaffinity(0)))
    quota = _first_numbers("/sys/fs/cgroup/cpu.max") or [
        *_first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
        *_first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ]
    if len(quota) == 2 and quota[0] > 0:
        usable = min(usable, quota[0] / quota[1])
    return usable


def memory() -> int | None:
    """Bytes that this container may use."""
    limits = [
        value
        for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        for value in _first_numbers(name)
        if 0 < value < 1 << 50
    ]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([*limits, machine])


def connections(most: int) -> int:
    """How many connections may be open at once, at most `most`: each may need another one to TorchServe, and so two open files.

    The limit on open files is raised as far as that is allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * most + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, (soft - OTHER_FILES) // 2))


def memory_kills() -> int:
    """How many processes of this container were killed because its memory was full."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            if match := re.search(r"^oom_kill (\d+)", Path(name).read_text(), re.M):
                return int(match[1])
        except OSError:
            continue
    return 0


def _first_numbers(name: str) -> list[int]:
    """The numbers of a one-line file of the kernel's; none where there is no limit or no file."""
    try:
        words = Path(name).read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(re.fullmatch(r"-?\d+", word) for word in words) else []
