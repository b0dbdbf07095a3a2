"""POST /api/v1/telemetry/litellm: the webhook of LiteLLM's `generic_api` callback."""

import msgspec

from apps.core.asgi import GONE, JSON_TYPE, Door, Receive, Scope, Send, answer, problem
from apps.telemetry.domain import litellm
from apps.telemetry.domain.intake import Intake
from apps.telemetry.reception import MAX_BODY, Commit, Reception, Refusal


def doors(commit: Commit) -> dict[tuple[str, str], Door]:
    reception = Reception("litellm", "webhook", MAX_BODY, commit)  # a row carries prompts and the whole price map

    async def door(scope: Scope, receive: Receive, send: Send) -> int:
        try:
            intake, receipt = await reception.take(scope, receive, understand)
        except ConnectionError:
            return GONE
        except Refusal as refusal:
            return await problem(send, refusal.status, refusal.code, refusal.message, *refusal.headers)
        told = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": intake.rejected}
        return await answer(send, 202, msgspec.json.encode(told), JSON_TYPE)

    return {("POST", f"/api/v1/telemetry/litellm{slash}"): door for slash in ("", "/")}


def understand(raw: bytes, environment: str, now: int) -> Intake:
    return litellm.read(raw, now)
