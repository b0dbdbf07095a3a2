"""One model has many spellings in the field: `("", "openai/GPT-4.1")` and `("openai", "gpt-4.1")` are the same."""

import re
from collections.abc import Iterator
from functools import lru_cache

MOST_NAMES = 10_000
STANDARD = ""  # the service tier that everybody has who asks for none
_STANDARDS = frozenset({"", "standard", "auto", "on_demand", "default"})
_MODEL_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest)$")

# Names of providers as the price library has them; others are taken as they are, in lower case.
PROVIDERS = {
    "gcp.gemini": "google", "gcp.vertex_ai": "google", "gcp.gen_ai": "google", "gemini": "google",
    "vertex_ai": "google", "vertex_ai_beta": "google", "vertexai": "google", "google_genai": "google",
    "google_vertexai": "google", "google-gla": "google", "google-vertex": "google",
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "az.ai.openai": "azure", "az.ai.inference": "azure",
    "azure_ai": "azure", "azure_openai": "azure", "azure_text": "azure",
    "aws.bedrock": "aws", "bedrock": "aws", "bedrock_converse": "aws", "amazon_bedrock": "aws",
    "mistral_ai": "mistral", "mistralai": "mistral", "codestral": "mistral", "x_ai": "x-ai", "xai": "x-ai",
    "moonshot_ai": "moonshotai", "moonshot": "moonshotai", "text-completion-openai": "openai",
    "anthropic_text": "anthropic", "cohere_chat": "cohere", "fireworks_ai": "fireworks", "together_ai": "together",
    "voyage": "voyageai", "github_copilot": "github-copilot", "z_ai": "zai",
}  # fmt: skip

# Who makes a model, by how its name begins: who is asked where a sender names no provider, whoever resells it too.
MAKERS = {
    "claude": "anthropic",
    "gpt-": "openai", "chatgpt-": "openai", "codex-": "openai", "o1": "openai", "o3": "openai", "o4": "openai",
    "text-embedding-3": "openai", "text-embedding-ada": "openai", "davinci": "openai", "babbage": "openai",
    "curie": "openai", "ada": "openai", "whisper": "openai", "tts-": "openai",
    "gemini": "google", "text-embedding-0": "google",
    "command": "cohere", "embed-": "cohere", "rerank": "cohere",
    "mistral": "mistral", "ministral": "mistral", "codestral": "mistral", "devstral": "mistral", "magistral": "mistral",
    "mixtral": "mistral", "pixtral": "mistral", "voxtral": "mistral", "open-mi": "mistral",
    "grok": "x-ai", "deepseek": "deepseek", "kimi": "moonshotai", "moonshot": "moonshotai", "sonar": "perplexity",
    "llama-3.1-sonar": "perplexity", "voyage-": "voyageai", "minimax": "minimax", "glm-": "zai", "muse-": "meta",
    # as Bedrock spells those of others
    "anthropic.": "aws", "amazon.": "aws", "meta.": "aws", "us.": "aws", "eu.": "aws", "apac.": "aws", "global.": "aws",
}  # fmt: skip


def named(provider: str) -> str:
    """A provider by our name of it."""
    told = provider.lower()
    return PROVIDERS.get(told, told)


def maker_of(model: str) -> str:
    """Whose a model is, by its name in lower case; empty where the name does not tell."""
    return next((maker for begin, maker in MAKERS.items() if model.startswith(begin)), "")


@lru_cache(maxsize=MOST_NAMES)
def normalised(provider: str | None, model: str) -> tuple[str, str]:
    provider = named(provider or "")
    model = model.lower().removeprefix("models/")
    head, slash, tail = model.partition("/")
    if slash and (not provider or provider == named(head)):
        provider, model = named(head), tail.removeprefix("models/")
    return provider, model


def undated(model: str) -> str:
    return _MODEL_DATE.sub("", model)


def spellings(provider: str, model: str) -> Iterator[str]:
    """The name itself, then without the date at its end; some providers have their own name in it."""
    yield model
    if (bare := undated(model)) != model:
        yield bare
    yield f"{provider}/{model}"


def service_tier_of(told: str | None) -> str:
    named = (told or "").lower()
    return STANDARD if named in _STANDARDS else named[:32]
