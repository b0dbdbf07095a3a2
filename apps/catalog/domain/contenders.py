"""The five contenders that the catalogue is shipped with, each with its strength and its fatal flaw."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Contender:
    key: str
    name: str
    tier: str
    released_at: datetime
    priced_as: str  # the price library's name of it
    strength: str
    weakness: str

    @property
    def provider(self) -> str:
        return self.key.partition("/")[0]

    @property
    def model_id(self) -> str:
        return self.key.partition("/")[2]


CONTENDERS = (
    Contender(
        key="anthropic/claude-sonnet-4-5",
        name="Claude Sonnet 4.5",
        tier="large",
        released_at=datetime(2025, 9, 29, tzinfo=UTC),
        priced_as="anthropic/claude-sonnet-4-5",
        strength="Safe and predictable answers: less moderation work, controlled summaries, careful with instructions.",
        weakness="Few ways to tune it: adapting it to a special domain is slow.",
    ),
    Contender(
        key="openai/chatgpt-4.1",
        name="ChatGPT 4.1",
        tier="general",
        released_at=datetime(2025, 5, 14, tzinfo=UTC),
        priced_as="openai/gpt-4.1",
        strength="Broad community tooling and ecosystem: short time to production, code help with explanations.",
        weakness="Its cost at scale surprises teams that have no budget per request.",
    ),
    Contender(
        key="google/gemini-2.5-flash-lite",
        name="Gemini 2.5 Flash-Lite",
        tier="compact",
        released_at=datetime(2025, 7, 22, tzinfo=UTC),
        priced_as="google/gemini-2.5-flash-lite",
        strength="Tuned for latency: holds tight objectives at peak traffic, at a fraction of the price.",
        weakness="Less coherent in long form and on dense logic tasks.",
    ),
    Contender(
        key="openai/gpt-4.1",
        name="GPT-4.1",
        tier="general",
        released_at=datetime(2025, 4, 14, tzinfo=UTC),
        priced_as="openai/gpt-4.1",
        strength="Familiar behaviour and mature SDKs: a baseline that prompts and tooling are already tuned for.",
        weakness="Overused as a hammer where a lighter model would do.",
    ),
    Contender(
        key="openai/gpt-5",
        name="GPT-5",
        tier="preview",
        released_at=datetime(2025, 8, 7, tzinfo=UTC),
        priced_as="openai/gpt-5",
        strength="Strongest reasoning of the five, and the largest context.",
        weakness="Hard to integrate: reasoning tokens make cost and latency hard to foresee; watch it closely.",
    ),
)

ALIASES = {  # models that have the prices of another one
    (one.provider, one.model_id): (one.priced_as.partition("/")[0], one.priced_as.partition("/")[2])
    for one in CONTENDERS
    if one.priced_as != one.key
}
RELEASED_AT = {one.key: one.released_at for one in CONTENDERS}
