# Not run where this was written: there is no container engine there. Try it before you promise it.
FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
WORKDIR /app
COPY requirements.txt .
RUN uv venv .venv && uv pip install --no-cache --require-hashes -r requirements.txt
COPY . .
RUN SECRET_KEY=build DATA_DIR=/tmp/build STATIC_ROOT=/app/static-collected .venv/bin/python manage.py collectstatic --noinput -v0

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 changeover && mkdir /data && chown changeover /data
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app:/app/sdk PYTHONUNBUFFERED=1 \
    DATA_DIR=/data STATIC_ROOT=/app/static-collected
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["granian", "--interface", "asgi", "--http", "1", "--no-ws", "--loop", "uvloop", "--runtime-mode", "mt", \
     "--host", "0.0.0.0", "--port", "8000", "--backlog", "4096", "--backpressure", "4096", \
     "--workers-kill-timeout", "10", "controlplane.asgi:app"]
