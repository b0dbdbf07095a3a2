"""A service as its authors would write it: OpenAI's client, OpenTelemetry's instrumentation of it, OpenFeature's hook.

    instrumented_openai.py ADDRESS KEY ROUTE PROVIDER

Asks the provider three times, once streamed, and once for a model that is not there. Everything leaves as OTLP/JSON:
spans and log events with prompts, exponential histograms of what was new. Prints the usage of each answer, a line each.
"""

import os
import sys

os.environ |= {
    "OTEL_SERVICE_NAME": "payments",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
    "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
}

import openai
from openfeature import api
from openfeature.contrib.hook.opentelemetry import TracingHook
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from opentelemetry import trace
from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

address, key, route, provider = sys.argv[1:]
told = {"headers": {"authorization": f"Bearer {key}"}}
traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{address}/otlp/v1/traces", **told)))
metrics = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{address}/otlp/v1/metrics", **told))])
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{address}/otlp/v1/logs", **told)))
trace.set_tracer_provider(traces)
OpenAIInstrumentor().instrument(tracer_provider=traces, meter_provider=metrics, logger_provider=logs)

models = {"gpt-4.1": "gpt-4.1", "flash-lite": "gemini-2.5-flash-lite"}
api.set_provider(InMemoryProvider({route: InMemoryFlag("gpt-4.1", models)}))
api.add_hooks([TracingHook()])
client = openai.OpenAI(api_key="none", base_url=f"{provider}/v1", max_retries=0)
prompt = [{"role": "user", "content": "ZmFsY29uIGNhbmFyeQ-the-prompt"}]
with trace.get_tracer("payments").start_as_current_span("POST /invoices"):
    model = api.get_client().get_string_value(route, "gpt-4.1")
    for _ in range(2):
        answer = client.chat.completions.create(model=model, messages=prompt, max_tokens=20)
        print(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    pieces = client.chat.completions.create(
        model=model, messages=prompt, max_tokens=20, stream=True, stream_options={"include_usage": True}
    )
    for piece in pieces:
        if piece.usage:
            print(piece.usage.prompt_tokens, piece.usage.completion_tokens)
    try:
        client.chat.completions.create(model="not-there", messages=prompt)
    except openai.NotFoundError:
        pass
for sender in (traces, logs, metrics):
    sender.shutdown()
