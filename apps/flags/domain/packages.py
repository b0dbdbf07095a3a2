"""Which bucketing a client's package computes: flagd's clients know one each, whatever a flag is pinned to.

`openfeature-provider-flagd/0.5.0` in, `v2` out; None where the package's name does not tell. Our own clients follow
the pin. From the release notes and sources of the packages, autumn 2026.
"""

import re

NAME = re.compile(r"(?P<name>@?[A-Za-z][\w@./-]*?)[/ @]v?(?P<version>\d+(\.\d+)*)")
Version = tuple[int, ...]
# Package to the first version of each algorithm, newest first.
SINCE: dict[str, tuple[tuple[Version, str], ...]] = {
    "openfeature-provider-flagd": (((0, 6), "v3"), ((0, 4), "v2"), ((0,), "v1")),  # Python
    "openfeature-flagd-core": (((2,), "v3"), ((0,), "v2")),  # Python
    "@openfeature/flagd-core": (((3,), "v2"), ((0,), "v1")),  # npm
    "flagd-core": (((0, 15), "v2"), ((0,), "v1")),  # Go
    "flagd": (((0, 15), "v2"), ((0,), "v1")),  # the daemon, versioned with its core
}


def bucketing_of(package: str) -> str | None:
    found = NAME.match(package.strip())
    if found is None or found["name"] not in SINCE:
        return None
    version = tuple(int(part) for part in found["version"].split("."))
    return next((algorithm for since, algorithm in SINCE[found["name"]] if version >= since), None)
