from django.urls import path

from apps.alerts import api

urlpatterns = [
    path("alerts/", api.AlertsView.as_view()),
    path("alerts/<str:id>/", api.AlertView.as_view()),
    path("alerts/<str:id>/acknowledge/", api.AcknowledgeView.as_view()),
    path("alerts/<str:id>/silence/", api.SilenceView.as_view()),
    path("alerts/<str:id>/resolve/", api.ResolveView.as_view()),
    path("channels/", api.ChannelsView.as_view()),
    path("channels/<str:id>/test/", api.ChannelTestView.as_view()),
]
