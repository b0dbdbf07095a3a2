"""What senders call things: every generation and dialect of GenAI telemetry in one table, newest name first.

G0 Traceloop's `llm.*`, G1 OpenTelemetry to 1.26, G2 1.27 to 1.36, G3 1.37 to 1.41, G4 the repository of its own since
1.42, and OpenInference, Logfire, Langfuse, LiteLLM. All are accepted always; of each field the first name that has a
value counts. These names are also the allow-list: an attribute that stands nowhere here is not even decoded, since
senders put prompts, answers, stack traces and key hashes into the others.
"""

from __future__ import annotations

# 2: tokens written to caches, the oldest names of models, retries of OpenAI's clients. 3: flags of a resource.
# 4: whether a call was a stream, tags of a whole trace, more errors of networks and of aiohttp
VERSION = 4

FIELDS: dict[str, tuple[str, ...]] = {
    "operation": (
        "gen_ai.operation.name", "llm.request.type", "openinference.span.kind", "langfuse.observation.type",
    ),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "llm.vendor"),
    "asked_model": ("gen_ai.request.model", "llm.request.model", "langfuse.observation.model.name"),
    "response_model": ("gen_ai.response.model", "llm.response.model", "llm.model_name", "embedding.model_name",
                       "langfuse.observation.model.name"),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens",
                     "llm.token_count.prompt"),
    "cached_input_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
                            "llm.token_count.prompt_details.cache_read"),
    "cache_write_tokens": ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
                           "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
                      "llm.token_count.completion"),
    "first_token": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "first_token_at": ("langfuse.observation.completion_start_time",),
    "stream": ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming"),
    "error": ("error.type", "exception.type"),
    "error_code": ("error.code", "http.response.status_code"),
    "level": ("langfuse.observation.level",),
    "finish": ("gen_ai.response.finish_reasons", "llm.finish_reason", "gen_ai.completion.0.finish_reason",
               "langfuse.observation.metadata.finish_reason"),
    "response_id": ("gen_ai.response.id",),
    "call_id": ("litellm.call_id",),
    "tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier", "gen_ai.cost.service_tier"),
    "told_cost": ("gen_ai.cost.total_cost", "operation.cost", "llm.cost.total"),
    "endpoint": ("server.address", "gen_ai.openai.api_base", "openai.api_base"),
    # Where a stream was logged when it ended, apart from the span that ended with its headers
    "log_duration": ("duration",),
    "span_type": ("logfire.span_type",),
    # Which route it was of
    "route": ("changeover.route",),
    "variant": ("changeover.variant",),
    "arm": ("changeover.arm",),
    "attempt": ("changeover.attempt",),
    "retry_count": ("http.request.header.x-stainless-retry-count", "http.request.header.x_stainless_retry_count"),
    "request_id": ("changeover.request_id",),
    "pair_id": ("changeover.pair_id",),
    "final": ("changeover.final",),
    "snapshot": ("changeover.snapshot",),
    "assigned": ("changeover.assigned",),
    "assigned_by": ("changeover.assigned_by",),
    "tag": ("changeover.tag",),
    "flag": ("feature_flag.key",),
    "flag_variant": ("feature_flag.result.variant", "feature_flag.variant"),
    "tags": ("langfuse.trace.tags", "metadata.tags", "request_tags"),
    "told_route": ("langfuse.trace.metadata.route",),
    "told_variant": ("langfuse.trace.metadata.variant",),
}  # fmt: skip

# Texts in which numbers are packed: they are read for those at the door, and not kept.
INVOCATION = ("llm.invocation_parameters", "embedding.invocation_parameters")  # JSON with `model`
USAGE = ("gen_ai.usage.raw", "metadata.usage_object", "langfuse.observation.usage_details")  # JSON, or Python's repr
COSTS = ("langfuse.observation.cost_details",)

RESOURCE = {
    "service": ("service.name",),
    "instance": ("service.instance.id",),
    "environment": ("deployment.environment.name", "deployment.environment", "langfuse.environment"),
    **{name: FIELDS[name] for name in ("route", "variant", "flag", "flag_variant")},
}

KEPT = frozenset(name for names in FIELDS.values() for name in names) | {*INVOCATION, *USAGE, *COSTS}
KEPT_OF_RESOURCE = frozenset(name for names in RESOURCE.values() for name in names)
KEPT_OF_EVENT = frozenset({*FIELDS["flag"], *FIELDS["flag_variant"], "exception.type", "error.type"})
FLAG_EVENTS = frozenset({"feature_flag.evaluation", "feature_flag"})
EXCEPTION_EVENT = "exception"
FIRST_TOKEN_EVENT = "First Token Stream Event"
EVENTS = FLAG_EVENTS | {EXCEPTION_EVENT, FIRST_TOKEN_EVENT}
CALL_EVENT = "gen_ai.client.inference.operation.details"

# What is one call to a provider. All else (agents, tools, plans, retrieval, memory) repeats its children's tokens.
CALL, EMBEDDING = "call", "embedding"
OPERATIONS = {
    "chat": CALL, "generate_content": CALL, "text_completion": CALL, "completion": CALL, "responses": CALL,
    "generation": CALL, "llm": CALL, "embeddings": EMBEDDING, "embedding": EMBEDDING,
}  # fmt: skip
OPERATIONS |= {f"a{name}": kind for name, kind in OPERATIONS.items() if name != "llm"}  # LiteLLM's asynchronous ones

# OpenAI-compatible servers all say `openai`. Endings of addresses, by the price library's names of who answers there.
ENDPOINTS = {
    "api.openai.com": "openai", "api.anthropic.com": "anthropic",
    "openai.azure.com": "azure", "services.ai.azure.com": "azure", "cognitiveservices.azure.com": "azure",
    "azure-api.net": "azure",
    "generativelanguage.googleapis.com": "google", "aiplatform.googleapis.com": "google",
    "elb.amazonaws.com": "", "amazonaws.com": "aws",  # behind a balancer stands anybody's gateway
    "api.cerebras.ai": "cerebras", "api.cohere.ai": "cohere", "api.cohere.com": "cohere",
    "cloud.databricks.com": "databricks", "azuredatabricks.net": "databricks", "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks", "api.githubcopilot.com": "github-copilot", "api.groq.com": "groq",
    "inference.baseten.co": "baseten", "api.meta.ai": "meta", "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax", "api.mistral.ai": "mistral", "modal.run": "modal", "modal.direct": "modal",
    "api.moonshot.ai": "moonshotai", "api.moonshot.cn": "moonshotai", "api.novita.ai": "novita",
    "openrouter.ai": "openrouter", "oai.endpoints.kepler.ai.cloud.ovh.net": "ovhcloud",
    "api.perplexity.ai": "perplexity", "api.together.xyz": "together", "api.voyageai.com": "voyageai",
    "api.x.ai": "x-ai", "api.z.ai": "zai", "open.bigmodel.cn": "zhipuai",
    "api.arcee.ai": "arcee", "api.avian.io": "avian", "api.doubleword.ai": "doubleword",
}  # fmt: skip

# Of clients, of Bedrock's errors and Google's statuses. A call that was refused costs nothing, so its name matters.
ERRORS = {
    "timeout": ("APITimeoutError", "APIConnectionTimeoutError", "Timeout", "TimeoutError", "TimeoutException",
                "ReadTimeout", "ReadTimeoutError", "ServerTimeoutError", "SocketTimeoutError", "GatewayTimeout",
                "ModelTimeoutException", "DeadlineExceeded", "DEADLINE_EXCEEDED", "408", "504"),
    "rate_limited": ("RateLimitError", "rate_limit_error", "rate_limit_exceeded", "insufficient_quota",
                     "TooManyRequests", "TooManyRequestsException", "ThrottlingException", "ModelNotReadyException",
                     "ServiceQuotaExceededException", "ResourceExhausted", "RESOURCE_EXHAUSTED", "429"),
    "overloaded": ("OverloadedError", "overloaded_error", "ServiceUnavailableError", "ServiceUnavailable",
                   "ServiceUnavailableException", "UNAVAILABLE", "529", "503"),
    "provider_error": ("InternalServerError", "InternalServerException", "BadGatewayError", "BadGateway",
                       "ModelErrorException", "INTERNAL", "500", "502"),
    "connection": ("APIConnectionError", "ConnectError", "ConnectionError", "ConnectionRefusedError", "ConnectTimeout",
                   "ConnectTimeoutError", "ConnectionTimeoutError", "EndpointConnectionError", "ClientConnectorError",
                   "ClientConnectorDNSError", "ClientConnectorSSLError", "ClientConnectorCertificateError",
                   "PoolTimeout", "SSLError", "SSLCertVerificationError", "gaierror", "NameResolutionError",
                   "ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "DNS", "TLS"),
    "invalid_request": ("BadRequestError", "NotFoundError", "UnprocessableEntityError", "InvalidRequestError",
                        "invalid_request_error", "ContextWindowExceededError", "ValidationException",
                        "ResourceNotFoundException", "InvalidArgument", "INVALID_ARGUMENT", "NOT_FOUND", "400", "404",
                        "413", "422"),
    "auth": ("AuthenticationError", "authentication_error", "PermissionDeniedError", "permission_error",
             "AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "Unauthenticated",
             "PermissionDenied", "PERMISSION_DENIED", "401", "403"),
    "content_filtered": ("ContentPolicyViolationError", "content_filter"),
    "cancelled": ("CancelledError", "GeneratorExit", "APIUserAbortError", "AbortError"),
    "other": ("_OTHER",),
}  # fmt: skip
ERROR_CLASSES = {name.lower(): kind for kind, names in ERRORS.items() for name in names} | {
    kind: kind for kind in ERRORS
}

FINISHES = {
    "tool_call": "tool_calls", "function_call": "tool_calls", "tool_use": "tool_calls", "safety": "content_filter",
    "refusal": "content_filter", "max_tokens": "length", "end_turn": "stop", "stop_sequence": "stop",
    "tool-calls": "tool_calls", "content-filter": "content_filter", "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter", "prohibited_content": "content_filter", "blocklist": "content_filter",
}  # fmt: skip

# Metrics by their names with underscores, as Prometheus-shaped pipelines write them, without `_total` and units. Others
# are not kept: sizes of single calls repeat the sums, and times to the first chunk are told by spans.
DURATION, TOKENS, INPUT, OUTPUT, CACHED, WRITTEN = "duration", "tokens", "input", "output", "cached", "written"
METRICS = {
    "gen_ai_client_operation_duration": DURATION,
    "gen_ai_client_inference_duration": DURATION,
    "gen_ai_client_token_usage": TOKENS,
    "gen_ai_client_inference_usage_input_tokens": INPUT,
    "gen_ai_client_inference_usage_output_tokens": OUTPUT,
    "gen_ai_client_inference_usage_cache_read_input_tokens": CACHED,
    "gen_ai_client_inference_usage_cache_write_input_tokens": WRITTEN,
}
CALLS_IN_PAIRS, TOKENS_IN_PAIRS = "gen_ai_client_operation_duration", "gen_ai_client_token_usage"  # one value a call
METRIC_SUFFIXES = ("_total", "_seconds", "_milliseconds", "_token")  # Traceloop's unit is `token`
# `total` is no standard, but in the field beside the other two: counting it would count all twice.
TOKEN_TYPES = {"input": INPUT, "output": OUTPUT, "prompt": INPUT, "completion": OUTPUT}
TOKEN_TYPE = "gen_ai.token.type"
_OF_POINT = frozenset(
    {
        TOKEN_TYPE,
        *(name for field in ("operation", "provider", "asked_model", "response_model", "error", "route", "variant",
                           "tier")
          for name in FIELDS[field]),
        *FIELDS["flag"], *FIELDS["flag_variant"], "server.address",
    }
)  # fmt: skip
WITH_DOTS = {name.replace(".", "_"): name for name in _OF_POINT}
KEPT_OF_POINT = _OF_POINT | WITH_DOTS.keys()
# LiteLLM's metrics carry dates and ids: a new stream for every call. Its spans and its webhook tell the same.
SCOPES_WITHOUT_METRICS = frozenset({"litellm", "litellm.integrations.opentelemetry"})
