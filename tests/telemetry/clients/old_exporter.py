"""Of the exporter of 2024: sends calls under one span that carries OpenFeature's event, as it was named then.

old_exporter.py ADDRESS KEY ROUTE CALLS
"""

import sys

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

address, key, route, calls = sys.argv[1:]
exporter = OTLPSpanExporter(
    endpoint=f"{address}/otlp/v1/traces", headers={"authorization": f"Bearer {key}"}, compression=Compression.Gzip
)
provider = TracerProvider(resource=Resource({"service.name": "payments"}))
provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=50))
tracer = provider.get_tracer("opentelemetry.instrumentation.openai.v1")
with tracer.start_as_current_span("POST /invoices") as root:
    root.add_event("feature_flag", {"feature_flag.key": route, "feature_flag.variant": "gpt-4.1"})
    for _ in range(int(calls)):
        with tracer.start_as_current_span("openai.chat") as span:
            span.set_attribute("llm.request.type", "chat")
            span.set_attribute("gen_ai.system", "OpenAI")
            span.set_attribute("gen_ai.request.model", "gpt-4.1")
            span.set_attribute("gen_ai.usage.prompt_tokens", 1000)
            span.set_attribute("gen_ai.usage.completion_tokens", 100)
provider.shutdown()
