from django.urls import path

from apps.budgets import api

urlpatterns = [
    path("guardrails/", api.GuardrailsView.as_view()),
    path("guardrails/<str:id>/", api.GuardrailView.as_view()),
    path("budgets/", api.BudgetsView.as_view()),
    path("budgets/<str:id>/", api.BudgetView.as_view()),
]
