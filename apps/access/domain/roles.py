"""Four roles, each including the lower ones, and the scopes of API keys with the role that each acts as."""

from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def includes(self, other: "Role") -> bool:
        return self.rank >= other.rank


class KeyScope(StrEnum):
    FLAGS_READ = "flags:read"
    TELEMETRY_WRITE = "telemetry:write"
    MANAGE_READ = "manage:read"
    MANAGE_WRITE = "manage:write"
    MANAGE_ADMIN = "manage:admin"


# No key approves: an approval is a person's word.
ROLE_OF_SCOPE = {
    KeyScope.MANAGE_READ: Role.VIEWER,
    KeyScope.MANAGE_WRITE: Role.OPERATOR,
    KeyScope.MANAGE_ADMIN: Role.ADMIN,
}


def role_of_scopes(scopes: "list[str] | frozenset[str]") -> Role | None:
    """The highest role that a key with these scopes acts as."""
    roles = [role for scope, role in ROLE_OF_SCOPE.items() if scope in scopes]
    return max(roles, key=lambda role: role.rank, default=None)
