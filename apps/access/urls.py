from django.urls import path

from apps.access import api

urlpatterns = [
    path("environments/", api.EnvironmentsView.as_view()),
    path("environments/<slug:key>/", api.EnvironmentView.as_view()),
    path("api-keys/", api.ApiKeysView.as_view()),
    path("api-keys/<str:id>/", api.ApiKeyView.as_view()),
    path("api-keys/<str:id>/rotate/", api.RotationView.as_view()),
    path("journal/", api.JournalView.as_view()),
]
