"""Which addresses on the network a hook may be sent to.

In goes an address that a name was *resolved* to, never the name: `2130706433` and `0x7f.1` are loopback too, and only
the resolver knows. An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4, Teredo) is no better than that one.
"""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
SHARED = ipaddress.IPv4Network("100.64.0.0/10")
COMPATIBLE = ipaddress.IPv6Network("::/96")
NEWLY_RESERVED = ipaddress.IPv6Network("3fff::/20")  # for documentation: Python 3.11 does not know it yet
RELAYS = ipaddress.IPv4Network("192.88.99.0/24")  # of 6to4, given up


def is_public(text: str) -> bool:
    """Reachable for everybody: not loopback, private, link-local, shared, multicast, reserved, in whatever dress."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(is_plainly_public(each) for each in (address, *carried(address)))


def carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    found = [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    if address in NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.teredo is not None:
        found.extend(address.teredo)
    return found


def is_plainly_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return True  # judged by what it carries
        if any(address in network for network in (COMPATIBLE, NAT64_LOCAL, NEWLY_RESERVED)) or address.is_site_local:
            return False
        if address in NAT64:
            return True
    elif address in SHARED or address in RELAYS or int(address) >> 24 == 0:
        return False
    refused = (
        address.is_private,
        address.is_loopback,
        address.is_link_local,
        address.is_multicast,
        address.is_reserved,
        address.is_unspecified,
    )
    return not any(refused) and address.is_global
