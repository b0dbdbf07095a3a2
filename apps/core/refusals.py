"""Expected refusals: a service says no in one sentence. API and console turn each into the same clear answer."""

from typing import Any, ClassVar


class Refused(Exception):
    """Subclass beside the service that says it. `sentence` is a format string over the keyword arguments.

    `code` is the machine's word for it (problem+json), `status` the HTTP status of the answer.
    """

    code: ClassVar[str] = "refused"
    sentence: ClassVar[str] = "This cannot be done now."
    status: ClassVar[int] = 409

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        super().__init__(self.sentence.format(**facts))

    @property
    def detail(self) -> str:
        return str(self)

    @property
    def extra(self) -> dict[str, Any]:
        """More members of the problem document; a subclass that has some overrides this."""
        return {}


class NotFound(Refused):
    code = "not_found"
    sentence = "There is no {what} {key}."
    status = 404


class Forbidden(Refused):
    code = "forbidden"
    sentence = "{who} needs the role {role} in {environment}."
    status = 403


class Invalid(Refused):
    """`errors` names each field that is wrong: {"field": "what to do"}."""

    code = "invalid"
    sentence = "{why}"
    status = 400

    def __init__(self, why: str, **errors: str) -> None:
        self.errors = errors
        super().__init__(why=why)

    @property
    def extra(self) -> dict[str, Any]:
        return {"errors": self.errors} if self.errors else {}


class AlreadyThere(Refused):
    code = "already_there"
    sentence = "{what} {key} is already there."


class Stale(Refused):
    """A write on an old revision: who changed it since, when, and the field diff."""

    code = "stale"
    sentence = "{by} changed this at {at}. Look at the difference, then apply yours on top or discard it."
    status = 412

    def __init__(self, *, by: str, at: str, changes: dict[str, Any]) -> None:
        self.changes = changes
        super().__init__(by=by, at=at)

    @property
    def extra(self) -> dict[str, Any]:
        return {"changed_by": self.facts["by"], "changed_at": self.facts["at"], "changes": self.changes}
