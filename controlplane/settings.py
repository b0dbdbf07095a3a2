"""All settings, read from the environment (`.env.example` lists them). One file, so that one look tells."""

import os
import secrets
from pathlib import Path

import environ

from apps.core import logs

ROOT = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(ROOT / ".env")  # no file, no error; the environment wins over the file

DATA = Path(env.str("DATA_DIR", default=str(ROOT / "var"))).resolve()
DEBUG = env.bool("DEBUG", default=False)


def kept_secret(file: Path) -> str:
    """The key of this data folder, made at first use, so that manage.py works in a bare shell."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.touch(0o600)
        draft.write_text(secrets.token_urlsafe(50))
        if not file.exists():  # another process may have been faster
            draft.rename(file)
        draft.unlink(missing_ok=True)
    return file.read_text()


SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret(DATA / "secret_key")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # older ones: still opened, never sealed with
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000")  # links in alerts begin with it
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
CSRF_FAILURE_VIEW = "apps.console.views.account.page_is_old"

# What the product itself is set by
TICK_SECONDS = env.float("TICK_SECONDS", default=5.0)
WINDOW_SECONDS = env.int("WINDOW_SECONDS", default=10)
STREAMS_PER_PROCESS = env.int("STREAMS_PER_PROCESS", default=2000)  # open change streams: beyond, readers poll
STREAMS_PER_KEY = env.int("STREAMS_PER_KEY", default=1500)  # of one API key, on each process
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])  # of pages that may ask the flag doors
WINDOWS_FINE_HOURS = env.float("WINDOWS_FINE_HOURS", default=49.0)  # then windows become minutes; 49 at least
WINDOWS_MINUTES_DAYS = env.float("WINDOWS_MINUTES_DAYS", default=35.0)  # then minutes become hours
WINDOWS_HOURS_DAYS = env.float("WINDOWS_HOURS_DAYS", default=400.0)  # then they go; the ledger stays
DEDUPE_HOURS = env.float("DEDUPE_HOURS", default=2.0)
RAW_HOURS = env.float("RAW_HOURS", default=24.0)  # how long single calls are kept; 0: never
RAW_MAX_MB = env.float("RAW_MAX_MB", default=1024.0)  # all of them together
ALERT_PRIVATE_ADDRESSES = env.bool("ALERT_PRIVATE_ADDRESSES", default=False)  # may webhooks go to private networks?
ALERT_PLAIN_HTTP = env.bool("ALERT_PLAIN_HTTP", default=False)  # may they go over http://?
ALERT_PORTS = [int(port) for port in env.list("ALERT_PORTS", default=[])]  # to which ports, beside 443 and 80?
WATCH_SECONDS = env.float("WATCH_SECONDS", default=5.0)  # how often web looks whether the worker lives; 0: never
METRICS_SECONDS = env.float("METRICS_SECONDS", default=10.0)  # how often /metrics asks the tables anew; 0: never
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # who scrapes must send it; empty: /metrics is open
DEAD_MAN_URL = env.str("DEAD_MAN_URL", default="")  # called each minute while the protection works
TELEMETRY_STALE_SECONDS = env.int("TELEMETRY_STALE_SECONDS", default=120)  # under a live rollout: then people are told

# Databases
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA / 'changeover.sqlite3'}")}
_db = DATABASES["default"]
if _db["ENGINE"].endswith("sqlite3"):
    _db["TEST"] = {"NAME": str(DATA / "test.sqlite3")}  # the in-memory default locks whole tables between threads
    _db["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a deferred one that upgrades gets "database is locked" at once
        "timeout": 10,
        "init_command": (
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous={env.str('SQLITE_SYNC', default='FULL')};"
            " PRAGMA cache_size=-16000; PRAGMA journal_size_limit=67108864;"
            # Pages that are written again and again are brought home once in 32 MB, not once in 4.
            " PRAGMA wal_autocheckpoint=8000;"
        ),
    }
else:
    _db.setdefault("OPTIONS", {}).update(
        pool={
            "min_size": 1,
            "max_size": env.int("DATABASE_POOL", default=12),
            "timeout": 5,
            "max_lifetime": 1800,
            "max_idle": 300,
        },
    )
    _db["CONN_MAX_AGE"] = 0
    _db["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The broker of Celery and the bell of the hot doors: one Redis or Valkey
BROKER = env.str("REDIS_URL", default=f"redis+socket://{DATA / 'valkey.sock'}")
BELL_URL = BROKER.replace("redis+socket://", "unix://", 1)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "template_partials",
    "csp",
    "apps.core",
    "apps.journal",
    "apps.access",
    "apps.catalog",
    "apps.flags",
    "apps.alerts",
    "apps.telemetry",
    "apps.budgets",
    "apps.rollouts",
    "apps.console",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "apps.core.middleware.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"

# People
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "now"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=PUBLIC_URL.startswith("https://"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=0)
SECURE_REFERRER_POLICY = "same-origin"
if proxy_header := env.str("PROXY_SSL_HEADER", default=""):
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{proxy_header.upper().replace('-', '_')}", "https")

# Mail: a folder of files unless a server is named
EMAIL_CONFIG = env.email_url("EMAIL_URL", default=f"filemail://{DATA / 'mail'}")
EMAIL_BACKEND = EMAIL_CONFIG["EMAIL_BACKEND"]
EMAIL_FILE_PATH = str(DATA / "mail")
EMAIL_HOST = EMAIL_CONFIG.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = EMAIL_CONFIG.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = EMAIL_CONFIG.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = EMAIL_CONFIG.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = bool(EMAIL_CONFIG.get("EMAIL_USE_TLS", False))
EMAIL_USE_SSL = bool(EMAIL_CONFIG.get("EMAIL_USE_SSL", False))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", default="Changeover <changeover@localhost>")

# Static files
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(DATA / "static")))
STATICFILES_DIRS = [ROOT / "static"]
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": env.str("STATIC_STORAGE", default="whitenoise.storage.CompressedManifestStaticFilesStorage")
    },
}

# API
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.Page",
    "EXCEPTION_HANDLER": "apps.core.api.explain",
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Changeover",
    "DESCRIPTION": "The control plane that moves a model route from one model to another without breaking production.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.flags.serving.describing.add_doors",
    ],
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

LOGGING = logs.setting(
    level=env.str("LOG_LEVEL", default="WARNING"),
    form=env.str("LOG_FORMAT", default="plain"),  # json: a line for machines
)
