from django.urls import path

from apps.budgets import api, holds_api

urlpatterns = [
    path("guardrails/", api.GuardrailsView.as_view()),
    path("guardrails/<str:id>/", api.GuardrailView.as_view()),
    path("budgets/", api.BudgetsView.as_view()),
    path("budgets/oddities/", api.OdditiesView.as_view()),
    path("budgets/holds/", holds_api.HoldsView.as_view()),
    path("budgets/holds/terms/", holds_api.TermsView.as_view()),
    path("budgets/holds/<path:hold>/settle/", holds_api.SettleView.as_view()),
    path("budgets/holds/<path:hold>/extend/", holds_api.ExtendView.as_view()),
    path("budgets/<str:id>/", api.BudgetView.as_view()),
]
