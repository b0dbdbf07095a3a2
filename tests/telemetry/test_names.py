"""What senders call things, name by name: every generation of the conventions and every dialect means the same."""

import json
from datetime import datetime
from itertools import pairwise

import pytest

from apps.telemetry.domain import aliases, intake, litellm, otlp_json
from apps.telemetry.domain.attributes import fields_of
from tests.telemetry.make_otlp import event, nanos, span, traces
from tests.telemetry.make_telemetry import NOW

CHAT = {"gen_ai.operation.name": "chat"}
BEGIN = nanos(10) / 10**9
SOON = datetime.fromtimestamp(BEGIN + 0.25, NOW.tzinfo).isoformat()
ROW = {"litellm_call_id": "c-1", "startTime": BEGIN, "endTime": BEGIN + 1, "model": "openai/gpt-4.1"}


def taken(attributes, scope="test", **fields):
    body = otlp_json.read_traces(traces(span(attributes, **fields), scope=scope))
    return intake.of_body(body, environment="production", now=nanos(0)).calls


def told(attributes, **fields):
    (call,) = taken(attributes, **fields)
    return call


def told_by_row(**fields):
    (call,) = litellm.read(json.dumps([ROW | fields]).encode(), nanos(0)).calls
    return call


@pytest.mark.parametrize(
    ("name", "values", "is_embedding"),
    [
        ("gen_ai.operation.name", ["chat", "generate_content", "text_completion"], False),
        ("gen_ai.operation.name", ["embeddings"], True),
        ("llm.request.type", ["chat", "completion", "acompletion"], False),
        ("openinference.span.kind", ["LLM"], False),
        ("openinference.span.kind", ["EMBEDDING"], True),
        ("langfuse.observation.type", ["generation"], False),
        ("langfuse.observation.type", ["embedding"], True),
    ],
)
def test_an_operation_that_is_a_call(name, values, is_embedding):
    assert [told({name: value}).is_embedding for value in values] == [is_embedding] * len(values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("gen_ai.operation.name",
         ["invoke_agent", "invoke_workflow", "create_agent", "execute_tool", "plan", "retrieval", "create_memory",
          "search_memory", "update_memory", "delete_memory", "upsert_memory", "create_memory_store", "fetch_response"]),
        ("openinference.span.kind", ["AGENT", "CHAIN", "TOOL", "RETRIEVER", "RERANKER"]),
        ("langfuse.observation.type", ["span", "event", "agent", "tool", "chain", "retriever"]),
        ("llm.openai.messages", ["of LiteLLM's raw_gen_ai_request"]),
    ],
)  # fmt: skip
def test_what_repeats_the_tokens_of_its_children_is_no_call(name, values):
    usage = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 5}

    assert [taken({name: value} | usage) for value in values] == [[]] * len(values)


PROVIDERS = {
    "openai": ["openai", "OpenAI"], "anthropic": ["anthropic", "Anthropic"], "cohere": ["cohere", "Cohere"],
    "deepseek": ["deepseek"], "groq": ["groq", "Groq"], "perplexity": ["perplexity"], "openrouter": ["openrouter"],
    "google": ["gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai", "gemini", "vertex_ai", "google", "vertexai"],
    "azure": ["azure.ai.openai", "azure.ai.inference", "az.ai.openai", "az.ai.inference", "azure", "azure_ai"],
    "aws": ["aws.bedrock", "bedrock", "AWS.Bedrock"], "mistral": ["mistral_ai", "mistral"],
    "x-ai": ["x_ai", "xai"], "moonshotai": ["moonshot_ai"],
}  # fmt: skip
SPELLINGS = [(ours, seen) for ours, spelled in PROVIDERS.items() for seen in spelled]


@pytest.mark.parametrize(("ours", "seen"), SPELLINGS)
def test_a_provider_in_every_spelling_and_under_every_name(ours, seen):
    for name in ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"):
        assert told(CHAT | {name: seen}).provider == ours
    assert told_by_row(custom_llm_provider=seen).provider == ours


MODELS = [
    ({"gen_ai.request.model": "m"}, "m", ""),
    ({"llm.request.model": "m"}, "m", ""),
    ({"llm.invocation_parameters": '{"model": "m", "temperature": 0}'}, "m", ""),
    ({"embedding.invocation_parameters": '{"model": "m"}'}, "m", ""),
    ({"langfuse.observation.model.name": "m"}, "m", "m"),
    ({"gen_ai.request.model": "m", "gen_ai.response.model": "n"}, "m", "n"),
    ({"llm.model_name": "n"}, "", "n"),
    ({"embedding.model_name": "n"}, "", "n"),
]


@pytest.mark.parametrize(("attributes", "asked", "answered"), MODELS)
def test_the_model_that_was_asked_for_and_the_one_that_answered(attributes, asked, answered):
    call = told(CHAT | attributes)

    assert (call.asked_model, call.response_model) == (asked, answered)


@pytest.mark.parametrize(("provider", "model"), [("openai", "openai/m"), ("openai", "m"), ("azure", "azure/m")])
def test_a_gateways_model_stands_without_its_provider(provider, model):
    assert told_by_row(custom_llm_provider=provider, model=model).asked_model == "m"


DETAILS = {"prompt_tokens_details": {"cached_tokens": 512}, "completion_tokens_details": {"reasoning_tokens": 32}}
OPENAIS = {"prompt_tokens": 812, "completion_tokens": 64, "total_tokens": 876} | DETAILS
NEW = {"gen_ai.usage.input_tokens": 812, "gen_ai.usage.output_tokens": 64}
OPENINFERENCE = {"llm.token_count.prompt": 812, "llm.token_count.completion": 64}
CACHED = "gen_ai.usage.cache_read.input_tokens"
USAGES = {
    "G4": NEW | {CACHED: 512, "gen_ai.usage.cache_write.input_tokens": 100, "gen_ai.usage.reasoning.output_tokens": 32},
    "G3": NEW | {CACHED: 512, "gen_ai.usage.cache_creation.input_tokens": 100, "gen_ai.usage.total_tokens": 876},
    "Traceloop": NEW | {"gen_ai.usage.cache_read_input_tokens": 512, "gen_ai.usage.cache_creation_input_tokens": 100,
                        "gen_ai.usage.reasoning_tokens": 32, "llm.usage.total_tokens": 876},
    "G1": {"gen_ai.usage.prompt_tokens": 812, "gen_ai.usage.completion_tokens": 64, CACHED: 512,
           "gen_ai.usage.cache_creation_input_tokens": 100},
    "G0": {"llm.usage.prompt_tokens": 812, "llm.usage.completion_tokens": 64, "llm.usage.total_tokens": 876,
           CACHED: 512, "gen_ai.usage.cache_creation_input_tokens": 100},
    "OpenInference": OPENINFERENCE | {
        "llm.token_count.prompt_details.cache_read": 512, "llm.token_count.prompt_details.cache_write": 100,
        "llm.token_count.completion_details.reasoning": 32, "llm.token_count.total": 876},
    "Logfire": NEW | {"gen_ai.usage.raw": json.dumps(OPENAIS | {"cache_creation_input_tokens": 100})},
    "LiteLLM": NEW | {"metadata.usage_object": repr(OPENAIS | {"cache_creation_input_tokens": 100})},
    "Langfuse": {"langfuse.observation.usage_details": json.dumps(OPENAIS | {"cache_creation_input_tokens": 100})},
    "Langfuse by hand": {"langfuse.observation.usage_details": json.dumps(
        {"input": 200, "cache_read_input_tokens": 512, "cache_creation_input_tokens": 100, "output": 64})},
}  # fmt: skip


@pytest.mark.parametrize("dialect", USAGES)
def test_cached_and_written_tokens_are_parts_of_the_input_and_reasoning_of_the_output(dialect):
    call = told(CHAT | USAGES[dialect])

    usage = (call.input_tokens, call.cached_input_tokens, call.cache_write_tokens, call.output_tokens)
    assert usage == (812, 512, 100, 64)


def test_a_gateways_row_has_the_same_parts():
    call = told_by_row(prompt_tokens=812, completion_tokens=64, total_tokens=876, metadata={"usage_object": OPENAIS})

    assert (call.input_tokens, call.cached_input_tokens, call.output_tokens) == (812, 512, 64)


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({"gen_ai.response.time_to_first_chunk": 0.25, "gen_ai.request.stream": True}, 250),
        ({"gen_ai.response.time_to_first_chunk": 0.25}, 250),
        ({"gen_ai.server.time_to_first_token": 0.25, "gen_ai.is_streaming": True}, 250),
        ({"gen_ai.server.time_to_first_token": 0.25, "llm.is_streaming": "True"}, 250),
        ({"langfuse.observation.completion_start_time": json.dumps(SOON)}, 250),
        # an answer that comes whole has none
        ({"gen_ai.response.time_to_first_chunk": 0.25, "gen_ai.request.stream": False}, None),
        ({"gen_ai.server.time_to_first_token": 0.25, "gen_ai.is_streaming": False}, None),
        ({"gen_ai.server.time_to_first_token": 0.25, "llm.is_streaming": "False"}, None),
        ({"gen_ai.response.time_to_first_chunk": -0.25}, None),
        ({"gen_ai.response.time_to_first_chunk": True}, None),
        ({"langfuse.observation.completion_start_time": '"soon"'}, None),
        ({}, None),
    ],
)
def test_when_the_first_token_came(attributes, milliseconds):
    assert told(CHAT | attributes).first_token_ms == (milliseconds and pytest.approx(milliseconds, abs=0.01))


def test_openinference_tells_the_first_token_by_an_event():
    events = [event("First Token Stream Event", seconds_ago=9.75)]

    assert told({"openinference.span.kind": "LLM"}, events=events).first_token_ms == pytest.approx(250, abs=0.01)


@pytest.mark.parametrize(("stream", "milliseconds"), [(True, 250), (False, None), (None, None)])
def test_a_gateways_row_repeats_its_end_as_its_first_token_where_there_was_no_stream(stream, milliseconds):
    found = told_by_row(stream=stream, completionStartTime=BEGIN + 0.25).first_token_ms

    assert found == (milliseconds and pytest.approx(milliseconds, abs=0.01))


ERRORS = {
    "timeout": ["openai.APITimeoutError", "APITimeoutError", "Timeout", "litellm.exceptions.Timeout", "timeout", "504",
                "408", "httpx.ReadTimeout"],
    "rate_limited": ["RateLimitError", "openai.RateLimitError", "429"],
    "overloaded": ["529", "OverloadedError", "anthropic.OverloadedError", "503"],
    "provider_error": ["InternalServerError", "openai.InternalServerError", "500", "502"],
    "connection": ["APIConnectionError", "openai.APIConnectionError", "DNS", "TLS", "socket.gaierror",
                   "ssl.SSLCertVerificationError", "builtins.ConnectionRefusedError", "httpx.ConnectError",
                   "aiohttp.client_exceptions.ClientConnectorError"],
    "invalid_request": ["400", "404", "413", "422", "openai.BadRequestError", "NotFoundError"],
    "auth": ["401", "403", "openai.AuthenticationError", "PermissionDeniedError"],
    "cancelled": ["CancelledError", "asyncio.exceptions.CancelledError", "GeneratorExit"],
    "other": ["_OTHER", "other"],
    "MyOwnError": ["mine.MyOwnError"],
    "x" * 64: ["x" * 65],
}  # fmt: skip


@pytest.mark.parametrize(("ours", "seen"), [(ours, seen) for ours, names in ERRORS.items() for seen in names])
def test_an_error_in_every_spelling_whoever_tells_it(ours, seen):
    failed = {"code": 2}
    events = [event("exception", exception__type=seen, exception__message="secret")]

    assert told(CHAT | {"error.type": seen}, status=failed).error == ours
    assert told({"openinference.span.kind": "LLM"}, status=failed, events=events).error == ours
    assert told_by_row(status="failure", error_information={"error_class": seen}).error == ours


@pytest.mark.parametrize(
    ("name", "code", "ours"),
    [("Timeout", "408", "timeout"), ("APIError", "500", "provider_error"), ("", "429", "rate_limited"),
     ("APIStatusError", "413", "invalid_request"), ("APIError", "", "APIError"), ("", "", "other")],
)  # fmt: skip
def test_a_code_says_what_its_name_does_not(name, code, ours):
    information = {"error_class": name, "error_code": code}

    assert told_by_row(status="failure", error_information=information).error == ours
    attributes = {"error.type": name, "http.response.status_code": code}
    assert told(CHAT | attributes, status={"code": 2}).error == ours


@pytest.mark.parametrize(
    ("attributes", "fields", "error"),
    [
        ({"langfuse.observation.level": "ERROR"}, {}, "other"),
        ({"langfuse.observation.level": "DEFAULT"}, {}, ""),
        ({}, {"status": {"code": 2}}, "other"),
        ({}, {"status": {"code": 1}}, ""),
        ({"gen_ai.response.finish_reasons": ["content_filter"]}, {}, "content_filtered"),
        ({"gen_ai.response.finish_reasons": ["error"]}, {}, "cancelled"),
        ({"gen_ai.response.finish_reasons": ["error"]}, {"status": {"code": 1}}, ""),
        ({"gen_ai.response.finish_reasons": ["error"], "gen_ai.usage.input_tokens": 7}, {}, ""),
    ],
)
def test_a_call_that_failed_without_saying_by_which_error(attributes, fields, error):
    assert told(CHAT | attributes, **fields).error == error


ZEROS = [
    {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0},
    {"langfuse.observation.usage_details": '{"input": 0, "output": 0, "total": 0}'},
    {"gen_ai.usage.output_tokens": 0},
]
FAILED = [
    ({"error.type": "timeout"}, {}), ({"http.response.status_code": 504}, {}), ({}, {"status": {"code": 2}}),
    ({"langfuse.observation.level": "ERROR"}, {}), ({"gen_ai.response.finish_reasons": ["error"]}, {}),
]  # fmt: skip


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize(("failure", "fields"), FAILED)
def test_a_failed_call_that_says_nothing_was_used_does_not_know(failure, fields, zeros):
    call = told(CHAT | failure | zeros, **fields)

    assert call.error
    assert (call.input_tokens, call.output_tokens) == (None, None)


FINISHES = {
    "stop": ["stop"], "length": ["length"], "tool_calls": ["tool_calls", "tool_call", "function_call", "tool_use"],
    "content_filter": ["content_filter", "safety", "SAFETY", "refusal"], "error": ["error"],
}  # fmt: skip


@pytest.mark.parametrize(("ours", "seen"), [(ours, seen) for ours, names in FINISHES.items() for seen in names])
def test_a_reason_to_finish_in_every_spelling_and_under_every_name(ours, seen):
    lists = [{"gen_ai.response.finish_reasons": held} for held in ([seen], json.dumps([seen]), seen)]
    others = [{"llm.finish_reason": seen}, {"gen_ai.completion.0.finish_reason": seen},
              {"langfuse.observation.metadata.finish_reason": json.dumps(seen)}]  # fmt: skip

    for attributes in (*lists, *others):
        assert told(CHAT | attributes).finish == ours


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({"gen_ai.response.id": "chatcmpl-1"}, "response_id", "chatcmpl-1"),
        ({"openai.response.service_tier": "flex"}, "service_tier", "flex"),
        ({"gen_ai.openai.response.service_tier": "flex"}, "service_tier", "flex"),
        *(
            ({"gen_ai.system": "OpenAI", name: "https://api.deepseek.com/v1"}, "provider", "deepseek")
            for name in ("server.address", "gen_ai.openai.api_base", "openai.api_base")
        ),
        ({"gen_ai.cost.total_cost": 0.5}, "told_cost_nano", 5 * 10**8),
        ({"operation.cost": 0.5}, "told_cost_nano", 5 * 10**8),
        ({"llm.cost.total": 0.5}, "told_cost_nano", 5 * 10**8),
        ({"langfuse.observation.cost_details": '{"total": 0.5, "input": 0.4}'}, "told_cost_nano", 5 * 10**8),
        ({"langfuse.observation.cost_details": '{"input": 0.4, "output": 0.1}'}, "told_cost_nano", 5 * 10**8),
        ({"changeover.route": "r"}, "route", "r"),
        ({"changeover.variant": "v"}, "variant", "v"),
        ({"changeover.arm": "shadow"}, "arm", "shadow"),
        ({"changeover.attempt": 2}, "attempt", 2),
        ({"changeover.request_id": "r-1"}, "request_id", "r-1"),
        ({"changeover.pair_id": "p-1"}, "pair_id", "p-1"),
        ({"feature_flag.key": "r", "feature_flag.result.variant": "v"}, "variant", "v"),
        ({"feature_flag.key": "r", "feature_flag.variant": "v"}, "variant", "v"),
        ({"langfuse.trace.tags": ["route:r", "variant:v"]}, "route", "r"),
        ({"langfuse.trace.tags": '["route:r", "variant:v"]'}, "variant", "v"),
        ({"request_tags": "['route:r', 'arm:shadow']"}, "arm", "shadow"),
        ({"langfuse.trace.metadata.route": '"r"'}, "route", "r"),
        ({"langfuse.trace.metadata.variant": '"v"'}, "variant", "v"),
    ],
)
def test_what_else_is_told_of_a_call(attributes, field, value):
    assert getattr(told(CHAT | attributes), field) == value


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"id": "chatcmpl-1"}, "response_id", "chatcmpl-1"),
        ({"litellm_call_id": "c-7"}, "id", "litellm\nc-7"),
        ({"trace_id": "t-1"}, "request_id", "t-1"),
        ({"cost_breakdown": {"service_tier": "flex"}}, "service_tier", "flex"),
        ({"custom_llm_provider": "openai", "api_base": "https://api.deepseek.com"}, "provider", "deepseek"),
        ({"response_cost": 0.5}, "told_cost_nano", 5 * 10**8),
        ({"request_tags": ["route:r", "variant:v"]}, "route", "r"),
        ({"request_tags": ["route:r", "variant:v"]}, "variant", "v"),
        ({"call_type": "aembedding"}, "is_embedding", True),
    ],
)
def test_what_else_a_gateways_row_tells(fields, field, value):
    assert getattr(told_by_row(**fields), field) == value


@pytest.mark.parametrize(
    "odd",
    [
        {"stream": "True"}, {"id": 7}, {"request_tags": "route:x"}, {"error_information": "?"}, {"trace_id": None},
        {"response_cost": "0.5"}, {"response_cost": float("nan")}, {"metadata": []}, {"call_type": 5}, {"cache_hit": 0},
        {"completionStartTime": "soon", "stream": True}, {"api_base": 5, "custom_llm_provider": "openai"},
        {"model_group": {}}, {"status": None}, {"own": float("inf")}, {"cost_breakdown": "?"}, {"prompt_tokens": "812"},
        {"metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": 0.0}}}},
    ],
)  # fmt: skip
def test_a_field_of_a_row_that_cannot_be_read_costs_itself_and_not_the_money_of_its_call(odd):
    call = told_by_row(**{"prompt_tokens": 812, "completion_tokens": 64} | odd)

    assert (call.input_tokens, call.output_tokens) == (812, 64)


@pytest.mark.parametrize(
    "odd", [{"litellm_call_id": ""}, {"litellm_call_id": "\0"}, {"litellm_call_id": 5}, {"endTime": None}]
)
def test_a_row_without_an_id_or_its_times_costs_itself(odd):
    found = litellm.read(json.dumps([ROW | odd, ROW]).encode(), nanos(0))

    assert (len(found.calls), found.rejected) == (1, 1)


@pytest.mark.parametrize("field", [field for field, names in aliases.FIELDS.items() if len(names) > 1])
def test_of_several_names_the_newest_counts_in_whatever_order_they_come(field):
    names = aliases.FIELDS[field]
    for newer, older in pairwise(names):
        for attributes in ({newer: "new", older: "old"}, {older: "old", newer: "new"}):
            assert fields_of(attributes)[field] == "new"
        assert fields_of({newer: "", older: "old"})[field] == "old"


@pytest.mark.parametrize(
    "name", ["deployment.environment.name", "deployment.environment", "langfuse.environment"]
)  # fmt: skip
@pytest.mark.parametrize(("environment", "n"), [("production", 0), ("staging", 1)])
def test_the_key_decides_the_environment_and_another_one_is_counted(name, environment, n):
    body = traces(span(CHAT), **{name: environment})

    found = intake.of_body(otlp_json.read_traces(body), environment="production", now=nanos(0))

    assert (len(found.calls), found.heard.get(("payments", "otlp", "other_environment"), 0)) == (1, n)
