"""The receiver at the other end of the webhook channel: checks the signature, keeps what came in `webhooks.jsonl`.

It follows the Standard Webhooks scheme by hand, as a receiver in any language would: HMAC-SHA256 over
`id.timestamp.body` with the secret behind `whsec_`, and no more than five minutes between the sender's clock and ours.
"""

import argparse
import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from controlplane.parentage import die_with_parent
from demo import web

TOLERANCE_SECONDS = 300


def is_signed(headers: dict[str, str], body: bytes, *, secret: str, now: float) -> bool:
    try:
        timestamp = int(headers["webhook-timestamp"])
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        signed = f"{headers['webhook-id']}.{timestamp}.".encode() + body
    except (KeyError, ValueError, binascii.Error):
        return False
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        return False
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    versions = (each.partition(",") for each in headers.get("webhook-signature", "").split())
    return any(version == "v1" and hmac.compare_digest(given, expected) for version, _, given in versions)


class Receiver:
    def __init__(self, *, secret: str, file: Path) -> None:
        self.secret = secret
        self.file = file

    async def answer(self, request: web.Request) -> web.Answer:
        if request.method != "POST":
            return web.Answer(404)
        if not is_signed(request.headers, request.body, secret=self.secret, now=time.time()):
            return web.answer_json({"error": "the signature does not fit"}, 401)
        try:
            message = json.loads(request.body)
        except ValueError:
            return web.answer_json({"error": "not JSON"}, 400)
        received = {
            "received_at": datetime.now(UTC).isoformat(),
            "id": request.headers["webhook-id"],
            "verified": True,
            "message": message,
        }
        with self.file.open("a") as lines:
            lines.write(json.dumps(received) + "\n")
        return web.answer_json({"ok": True})


async def run(arguments: argparse.Namespace) -> None:
    secret = json.loads((arguments.data / "demo" / "receiver.json").read_text())["secret"]
    receiver = Receiver(secret=secret, file=arguments.data / "webhooks.jsonl")
    server = await web.listen(receiver.answer, port=arguments.port)
    await server.serve_forever()


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser("python -m demo.receiver")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
