"""Which alerts a silence covers. Every field that is filled must fit; a condition fits by its beginning."""

from dataclasses import dataclass

LONGEST = {"route": 128, "owner": 128, "condition": 255}  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    route: str = ""
    owner: str = ""
    severity: str = ""
    condition: str = ""  # the beginning: `budget:` covers all budgets

    def covers(self, *, route: str, owner: str, severity: str, condition: str) -> bool:
        return (
            self.route in ("", route)
            and self.owner in ("", owner)
            and self.severity in ("", severity)
            and condition.startswith(self.condition)
        )

    @property
    def words(self) -> str:
        parts = [f"{name} {value}" for name, value in self.fields() if value]
        return ", ".join(parts) or "everything"

    def fields(self) -> list[tuple[str, str]]:
        return [
            ("route", self.route),
            ("owner", self.owner),
            ("severity", self.severity),
            ("condition", f"{self.condition}…" if self.condition else ""),
        ]
