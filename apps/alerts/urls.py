from django.urls import path

from apps.alerts import api

urlpatterns = [
    path("alerts/", api.AlertsView.as_view()),
    path("alerts/<str:id>/", api.AlertView.as_view()),
    path("alerts/<str:id>/acknowledge/", api.AcknowledgeView.as_view()),
    path("alerts/<str:id>/assign/", api.AssignView.as_view()),
    path("alerts/<str:id>/silence/", api.SilenceAlertView.as_view()),
    path("alerts/<str:id>/resolve/", api.ResolveView.as_view()),
    path("channels/", api.ChannelsView.as_view()),
    path("channels/<str:id>/", api.ChannelView.as_view()),
    path("channels/<str:id>/test/", api.ChannelTestView.as_view()),
    path("channels/<str:id>/rotate-secret/", api.RotateSecretView.as_view()),
    path("deliveries/", api.DeliveriesView.as_view()),
    path("deliveries/<str:id>/", api.DeliveryView.as_view()),
    path("deliveries/<str:id>/send-again/", api.SendAgainView.as_view()),
    path("silences/", api.SilencesView.as_view()),
    path("silences/preview/", api.SilencePreviewView.as_view()),
    path("silences/<str:id>/", api.SilenceView.as_view()),
    path("silences/<str:id>/end/", api.EndSilenceView.as_view()),
    path("maintenance-windows/", api.MaintenanceWindowsView.as_view()),
    path("maintenance-windows/<str:id>/", api.MaintenanceWindowView.as_view()),
    path("maintenance-windows/<str:id>/end/", api.EndMaintenanceView.as_view()),
    path("escalation/", api.EscalationView.as_view()),
]
