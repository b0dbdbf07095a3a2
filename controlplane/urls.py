"""Addresses: each app brings its own under /api/v1/; the console owns the rest."""

from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.console.views.welcome import set_password

# Swagger UI styles its own elements: the one page with a wider policy.
swagger = csp_update({"style-src": ["'self'", "'unsafe-inline'"]})(
    SpectacularSwaggerSplitView.as_view(url_name="schema")
)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", swagger, name="docs"),
    path("api/v1/", include("apps.access.urls")),
    path("api/v1/", include("apps.catalog.urls")),
    path("api/v1/", include("apps.flags.urls")),
    path("api/v1/", include("apps.telemetry.urls")),
    path("api/v1/", include("apps.budgets.urls")),
    path("api/v1/", include("apps.alerts.urls")),
    path("api/v1/", include("apps.rollouts.urls")),
    path("welcome/<str:uidb64>/<str:token>/", set_password, name="set_password"),
    path("", include("apps.console.urls")),
]

handler404 = "controlplane.errors.not_found"
handler500 = "controlplane.errors.fault"
