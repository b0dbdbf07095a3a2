from django.urls import path

from apps.catalog import api, api_price_lists

urlpatterns = [
    path("models/", api.ModelsView.as_view()),
    path("models/<path:key>/prices/", api.PricesView.as_view()),
    path("models/<path:key>/", api.ModelView.as_view()),
    path("price-lists/", api_price_lists.PriceListsView.as_view()),
    path("price-lists/<str:id>/", api_price_lists.PriceListView.as_view()),
    *(
        path(f"price-lists/<str:id>/{act}/", api_price_lists.PriceListActView.as_view(), {"act": act})
        for act in api_price_lists.ACTS
    ),
]
