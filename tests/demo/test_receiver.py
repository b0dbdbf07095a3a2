"""The webhook receiver takes what is signed with its secret, and nothing else."""

import json
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from standardwebhooks import Webhook

from demo import receiver, web

pytestmark = pytest.mark.asyncio

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0ISE="
BODY = json.dumps({"type": "alert.firing", "data": {"sentence": "Rolled back invoice-extraction"}})


def signed(body=BODY, secret=SECRET, at=None):
    at = at or datetime.now(UTC)
    return {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg-1", at, body),
    }


async def post(tmp_path, headers, body=BODY):
    listening = await web.listen(receiver.Receiver(secret=SECRET, file=tmp_path / "webhooks.jsonl").answer)
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"http://127.0.0.1:{web.port_of(listening)}/", content=body, headers=headers)
    listening.close()
    return answer.status_code


async def test_what_the_reference_library_signs_is_taken_and_kept(tmp_path):
    assert await post(tmp_path, signed()) == 200

    (line,) = (tmp_path / "webhooks.jsonl").read_text().splitlines()
    assert json.loads(line)["message"]["type"] == "alert.firing"
    assert json.loads(line)["verified"] is True


@pytest.mark.parametrize(
    "headers",
    [
        dict,
        lambda: signed(body=BODY + " "),
        lambda: signed(secret="whsec_" + "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXIhIQ=="),
        lambda: signed(at=datetime.now(UTC) - timedelta(minutes=6)),
        lambda: signed() | {"webhook-id": "msg-2"},
    ],
    ids=["unsigned", "another body", "another secret", "old", "another id"],
)
async def test_anything_else_is_refused_and_leaves_no_trace(tmp_path, headers):
    assert await post(tmp_path, headers()) == 401, "signed now: what is old is refused whoever signed it"

    assert not (tmp_path / "webhooks.jsonl").exists()


async def test_while_a_secret_is_rotated_one_good_signature_of_two_is_enough(tmp_path):
    headers = signed()
    headers["webhook-signature"] = "v1,bm90LXRoaXM= " + headers["webhook-signature"]

    assert await post(tmp_path, headers) == 200
