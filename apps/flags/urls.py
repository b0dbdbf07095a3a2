from django.urls import path

from apps.flags import api

urlpatterns = [
    path("flags/", api.FlagsView.as_view()),
    path("flags/<str:key>/", api.OneFlagView.as_view()),
    path("flags/<str:key>/weights/", api.WeightsView.as_view()),
    path("flags/<str:key>/switch-off/", api.SwitchOffView.as_view()),
    path("flags/<str:key>/restore/", api.SwitchBackView.as_view()),
    path("routes/", api.RoutesView.as_view()),
    path("routes/<str:key>/", api.OneRouteView.as_view()),
    path("evaluate/", api.EvaluateView.as_view()),
]
