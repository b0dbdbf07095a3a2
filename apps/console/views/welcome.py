"""The first operator sets a password, by the link that `bin/up` printed; then is logged in. Works once."""

from django.contrib.auth.views import PasswordResetConfirmView
from django.urls import reverse_lazy


class SetPassword(PasswordResetConfirmView):
    template_name = "console/set_password.html"
    success_url = reverse_lazy("now")
    post_reset_login = True


set_password = SetPassword.as_view()
