from django.urls import path

from apps.catalog import api

urlpatterns = [
    path("models/", api.ModelsView.as_view()),
    path("models/<path:key>/prices/", api.PricesView.as_view()),
    path("models/<path:key>/", api.ModelView.as_view()),
]
