from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "apps.budgets"
    label = "budgets"

    def ready(self) -> None:
        from apps.budgets.in_file import Budgets
        from apps.core import sections

        sections.register(Budgets())
