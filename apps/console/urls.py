from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from apps.console.views import account, activity, acts, alerts, decisions, money, now, parts, routes

urlpatterns = [
    path("", now.page, name="now"),
    path("routes/", routes.every, name="routes"),
    path("routes/<path:key>/act/<slug:act>/", acts.press, name="act"),
    path("routes/<path:key>/", routes.page, name="route"),
    path("d/<str:id>", decisions.page, name="decision"),
    path("d/<str:id>/", RedirectView.as_view(pattern_name="decision")),
    path("activity/", activity.page, name="journal"),
    path("alerts/", alerts.page, name="alerts"),
    path("alerts/<str:id>/acknowledge/", acts.acknowledge, name="acknowledge"),
    path("alerts/<str:id>/silence/<int:hours>/", acts.silence, name="silence"),
    path("budgets/", money.page, name="budgets"),
    path("b/", RedirectView.as_view(pattern_name="budgets")),  # where alerts of budgets lead
    path("login/", account.log_in, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("theme/", account.choose_theme, name="choose-theme"),
    path("environment/", account.choose_environment, name="choose-environment"),
    path("parts/", parts.page, name="parts"),
]
