"""The control plane as a script sees it: the management API with a key. Whoever is away for a moment is asked again."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2

from demo.saying import say

WAIT = 0.5


class Refused(Exception):
    def __init__(self, status: int, problem: dict[str, Any], what: str) -> None:
        super().__init__(f"{what}: {status} {problem.get('detail') or problem}")
        self.status = status
        self.problem = problem


class Plane:
    def __init__(self, url: str, *, environment: str, manage: str, read: str, report: str) -> None:
        self.url = url
        self.environment = environment
        self.keys = {"manage": manage, "read": read, "report": report}
        self.http = httpx2.Client(base_url=url, timeout=15, trust_env=False)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        key: str = "manage",
    ) -> Any:
        """Asks until somebody answers. A write carries one Idempotency-Key over all its tries."""
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        if method != "GET":
            headers["idempotency-key"] = str(uuid.uuid4())
        complained = False
        while True:
            try:
                answer = self.http.request(method, path, json=body, params=params, headers=headers)
            except httpx2.HTTPError as error:
                why = type(error).__name__
            else:
                if answer.status_code < 400:
                    return answer.json() if answer.content else {}
                why = f"{answer.status_code}"
                if answer.status_code not in (425, 429) and answer.status_code < 500:
                    raise Refused(answer.status_code, problem_of(answer), f"{method} {path}")
            if not complained:
                say(f"{method} {path} is not answered ({why}); asking again.")
                complained = True
            time.sleep(WAIT)

    def get(self, path: str, *, key: str = "manage", **params: Any) -> Any:
        return self.call("GET", path, params=params, key=key)

    def post(self, path: str, body: dict[str, Any], *, key: str = "manage") -> Any:
        return self.call("POST", path, body=body, key=key)

    def results(self, path: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.get(path, environment=self.environment, limit=100, **params)
        return list(answer["results"] if isinstance(answer, dict) else answer)

    def ensure(self, path: str, body: dict[str, Any]) -> bool:
        """Makes it, unless it is there. Says whether it is new."""
        try:
            self.post(path, body)
        except Refused as refused:
            if refused.status == 409:
                return False
            raise
        return True


def problem_of(answer: httpx2.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except json.JSONDecodeError:
        return {"detail": answer.text[:300]}
    return problem if isinstance(problem, dict) else {"detail": str(problem)[:300]}


def splits_of(value: Any) -> Iterator[list[Any]]:
    """Every `fractional` split in a piece of a flagd document: lists of [variant, weight]."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "fractional" and isinstance(inner, list):
                yield [each for each in inner if isinstance(each, list)]
            else:
                yield from splits_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from splits_of(inner)


def share_of(document: dict[str, Any], *, route: str, variant: str) -> float:
    """The part of the route's traffic, 0 to 1, that a service with this flagd document gives the variant."""
    flag = document["flags"][route]
    if flag.get("state") == "DISABLED":
        return 0.0
    for split in splits_of(flag.get("targeting") or {}):
        weights = {str(each[0]): float(each[1]) if len(each) > 1 else 1.0 for each in split if each}
        whole = sum(weights.values())
        return weights.get(variant, 0.0) / whole if whole else 0.0
    return 1.0 if flag.get("defaultVariant") == variant else 0.0
