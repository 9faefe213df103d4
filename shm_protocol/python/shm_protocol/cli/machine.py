"""What /proc and /sys say of this machine and container: mounts, and how much processor a process may use."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

CGROUPS: Final = Path("/sys/fs/cgroup")
CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Docker makes the first, Podman the second."""


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo. point: where it is mounted; kind: e.g. "tmpfs"; source: e.g. "shm"."""

    point: Path
    kind: str
    source: str


def mount_of(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> Mount:
    """What `path` lies on, whether it exists or not. Raises OSError where the table cannot be read."""
    resolved = path.resolve()
    found = Mount(Path("/"), "unknown", "unknown")
    for line in mountinfo.read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        point = Path(_unescaped(left.split()[4]))
        # A later mount at the same point hides the earlier.
        if resolved.is_relative_to(point) and len(point.parts) >= len(found.point.parts):
            kind, source = right.split()[:2]
            found = Mount(point, kind, _unescaped(source))
    return found


def in_container() -> bool:
    """Whether this looks like the inside of a container. An engine need not leave any of these marks."""
    return any(mark.exists() for mark in CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ


def cpu_quota(cgroup: Path = Path("/proc/self/cgroup"), mounted: Path = CGROUPS) -> float:
    """How many processors' time the control groups of this process allow it, math.inf: as many as there are.

    A group's parents limit it too. Raises OSError where the table cannot be read.
    """
    quotas = []
    for line in cgroup.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no controllers here; "unified" is where it is beside version 1.
        for root in [mounted / controllers] if controllers else [mounted, mounted / "unified"]:
            # In a container the path may be the host's, of which the container sees only the root.
            group = root / path.lstrip("/")
            quotas += [_quota_of(one) for one in (group, *group.parents) if one.is_relative_to(root)]
    return min(quotas, default=math.inf)


def _quota_of(group: Path) -> float:
    """A group's own quota, in processors; math.inf where it has none, or where there is no such group."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except FileNotFoundError:
        try:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except FileNotFoundError:
            return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


def _unescaped(text: str) -> str:
    r"""A field of mountinfo, in which a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
