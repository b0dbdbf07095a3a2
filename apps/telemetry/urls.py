from django.urls import path

from apps.telemetry import api, api_bills, api_calls, api_endpoints, api_prices, api_repricing, api_sources

urlpatterns = [
    path("windows/", api.WindowsView.as_view()),
    path("spend/", api.SpendView.as_view()),
    path("calls/", api_calls.CallsView.as_view()),
    path("pairs/", api_calls.PairsView.as_view()),
    path("bills/", api_bills.BillsView.as_view()),
    path("unpriced/", api_prices.UnpricedView.as_view()),
    path("amplification/", api_prices.AmplificationView.as_view()),
    path("price-lists/<str:id>/effect/", api_prices.EffectView.as_view()),
    path("repricing/", api_repricing.RepricingView.as_view()),
    path("sources/", api_sources.SourcesView.as_view()),
    path("unassigned/", api_sources.UnassignedView.as_view()),
    path("mappings/", api_sources.MappingsView.as_view()),
    path("mappings/<str:id>/", api_sources.OneMappingView.as_view()),
    path("endpoints/", api_endpoints.EndpointsView.as_view()),
    path("endpoints/<str:id>/", api_endpoints.OneEndpointView.as_view()),
    path("suspected-shadows/", api_sources.SuspectedShadowsView.as_view()),
    path("suspected-shadows/<str:call_id>/confirm/", api_sources.ConfirmShadowView.as_view()),
    path("suspected-shadows/<str:call_id>/dismiss/", api_sources.DismissShadowView.as_view()),
]
