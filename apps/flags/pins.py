"""Clients that hash otherwise than a flag is pinned to: through flagd's doors the client's own package decides.

v2 and v3 cannot be expressed in each other, so nothing that is served can make up for it. It can only be seen, here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.flags.domain import packages, prerequisites
from apps.flags.models import Flag
from apps.flags.queries import ClientView, FlagView


@dataclass(frozen=True, slots=True)
class Mismatch:
    client: ClientView
    computes: str  # v1, v2, v3; empty: its package is not known, and it reads at a door where the package decides


def mismatches(flag: FlagView, clients: Sequence[ClientView]) -> list[Mismatch]:
    """Of a flag that divides somebody; none for one that does not."""
    if not divides(flag):
        return []
    found = []
    for client in clients:
        computes = computed_by(client)
        if computes is not None and computes != flag.bucketing:
            found.append(Mismatch(client, computes))
    return found


def divides(flag: Flag | FlagView) -> bool:
    return flag.archived_at is None and (flag.is_split or prerequisites.is_random(flag.targeting))


def computed_by(client: ClientView) -> str | None:
    """None: it follows the pin, or evaluates here. Empty: only its own package knows."""
    known = packages.bucketing_of(client.sdk)
    return known if known is not None or not client.door else ""


def pinned(environment: str) -> dict[str, int]:
    """Pin to the number of served flags that divide somebody."""
    rows = Flag.objects.of(environment).served()
    rows = rows.only("default_variant", "targeting", "segments", "bucketing", "archived_at")
    found: dict[str, int] = {}
    for row in rows.iterator():
        if divides(row):
            found[row.bucketing] = found.get(row.bucketing, 0) + 1
    return found


def sentence(flag: FlagView, found: Sequence[Mismatch]) -> str:
    """Empty if nothing is to be said."""
    if not found:
        return ""
    told = [f"{name_of(one.client)} computes {one.computes}" for one in found if one.computes]
    unknown = [name_of(one.client) for one in found if not one.computes]
    if unknown:
        told.append(f"what {', '.join(unknown[:3])} {'computes' if len(unknown) == 1 else 'compute'} is not known")
    return (
        f"This flag divides subjects by {flag.bucketing}, and through flagd's doors the client's own package decides:"
        f" {'; '.join(told[:4])}. There the same subject may get another variant than elsewhere."
    )


def name_of(client: ClientView) -> str:
    package = f" ({client.sdk})" if client.sdk else ""
    return f"{client.name}{package}"
