from django.contrib.auth.views import LogoutView
from django.urls import path

from apps.console.views import account, parts

urlpatterns = [
    path("", parts.page, name="now"),
    path("a/", parts.page, name="alerts"),
    path("b/", parts.page, name="budgets"),
    path("c/", parts.page, name="routes"),
    path("d/", parts.page, name="journal"),
    path("login/", account.log_in, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("theme/", account.choose_theme, name="choose-theme"),
    path("environment/", account.choose_environment, name="choose-environment"),
    path("parts/", parts.page, name="parts"),
]
