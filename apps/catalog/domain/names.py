"""One model has many spellings in the field: `("", "openai/GPT-4.1")` and `("openai", "gpt-4.1")` are the same."""

import re
from collections.abc import Iterator
from functools import lru_cache

MOST_NAMES = 10_000
STANDARD = ""  # the service tier that everybody has who asks for none
_STANDARDS = frozenset({"", "standard", "auto", "on_demand", "default"})
_MODEL_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest)$")

PROVIDERS = {
    "gemini": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "az.ai.openai": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "mistral_ai": "mistral",
    "xai": "x-ai",
    "x_ai": "x-ai",
    "moonshot_ai": "moonshotai",
}


@lru_cache(maxsize=MOST_NAMES)
def normalised(provider: str | None, model: str) -> tuple[str, str]:
    provider = (provider or "").lower()
    provider = PROVIDERS.get(provider, provider)
    model = model.lower().removeprefix("models/")
    head, slash, tail = model.partition("/")
    if slash and (not provider or provider == PROVIDERS.get(head, head)):
        provider, model = PROVIDERS.get(head, head), tail.removeprefix("models/")
    return provider, model


def spellings(provider: str, model: str) -> Iterator[str]:
    """The name itself, then without the date at its end; some providers have their own name in it."""
    yield model
    if (bare := _MODEL_DATE.sub("", model)) != model:
        yield bare
    yield f"{provider}/{model}"


def service_tier_of(told: str | None) -> str:
    named = (told or "").lower()
    return STANDARD if named in _STANDARDS else named[:32]
