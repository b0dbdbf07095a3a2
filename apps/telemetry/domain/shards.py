"""Which of the sixteen shards a route belongs to, for life: one worker at a time looks after a shard."""

from zlib import crc32

SHARDS = 16


def shard_of(environment: str, route: str) -> int:
    return crc32(f"{environment}\n{route}".encode()) % SHARDS
