from django.urls import path

from apps.telemetry import api

urlpatterns = [
    path("windows/", api.WindowsView.as_view()),
    path("spend/", api.SpendView.as_view()),
]
