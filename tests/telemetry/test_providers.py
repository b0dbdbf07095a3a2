"""Who was asked, where all say that they are OpenAI: the address tells."""

import re

import pytest
from genai_prices.data_snapshot import get_snapshot

from apps.telemetry.domain import aliases
from apps.telemetry.domain.providers import provider_at, provider_of

BY_PATH = ("huggingface_", "cloudflare", "openai-decisions", "cursor", "elevenlabs", "typesafe", "quicksilverpro")


def test_our_addresses_of_providers_are_the_price_librarys():
    patterns = {one.id: one.api_pattern for one in get_snapshot().providers if not one.id.startswith(BY_PATH)}
    hosts = {ending: provider for ending, provider in aliases.ENDPOINTS.items() if provider}

    assert set(hosts.values()) == patterns.keys()
    for ending, provider in hosts.items():
        tried = (
            f"https://{ending}/",
            f"https://x.{ending}/serving-endpoints/",
            f"https://bedrock-runtime.x-1.{ending}/",
        )
        assert any(re.match(patterns[provider], url) for url in tried), ending


@pytest.mark.parametrize(
    ("endpoint", "provider"),
    [
        ("https://api.openai.com:443/v1", "openai"), ("eu.api.openai.com", "openai"),
        ("https://mine.openai.azure.com/", "azure"), ("API.CEREBRAS.AI:443", "cerebras"), ("api.z.ai", "zai"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws"), ("llm.example.com", "llm.example.com"),
        # our own networks: whoever they say they are
        ("gateway.us-east-1.elb.amazonaws.com", "openai"), ("litellm", "openai"), ("10.0.0.7:4000", "openai"),
        ("http://[fe80::1]:4000/v1", "openai"), ("gateway.svc", "openai"),
        # nothing that can be read
        ("http://[", "openai"), ("", "openai"), (7, "openai"), ("://", "openai"),
    ],
)  # fmt: skip
def test_an_openai_compatible_server_is_whose_address_it_has(endpoint, provider):
    assert provider_of({"provider": "OpenAI", "endpoint": endpoint}) == provider


def test_who_says_to_be_another_is_believed():
    assert provider_of({"provider": "Azure.AI.Inference", "endpoint": "api.openai.com"}) == "azure"
    assert provider_at("api.openai.com") == "openai"
