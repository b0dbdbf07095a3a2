"""Who acts: a person, an API key, or one of our own workers. Stored as text, since history outlives accounts."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["person", "key", "worker"]


@dataclass(frozen=True, slots=True)
class Actor:
    kind: Kind
    name: str

    def __str__(self) -> str:
        """`alice`, `key:ci`, `worker:tick`."""
        return self.name if self.kind == "person" else f"{self.kind}:{self.name}"


WORKER = Actor("worker", "tick")


def person(name: str) -> Actor:
    return Actor("person", name)


def key(name: str) -> Actor:
    return Actor("key", name)
