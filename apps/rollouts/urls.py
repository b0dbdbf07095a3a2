from django.urls import path

from apps.rollouts import api

urlpatterns = [
    path("rollouts/", api.RolloutsView.as_view()),
    path("rollouts/<str:id>/", api.OneRolloutView.as_view()),
    path("rollouts/<str:id>/start/", api.StartView.as_view()),
    path("rollouts/<str:id>/pause/", api.PauseView.as_view()),
    path("rollouts/<str:id>/resume/", api.ResumeView.as_view()),
    path("rollouts/<str:id>/advance/", api.AdvanceView.as_view()),
    path("rollouts/<str:id>/step-back/", api.StepBackView.as_view()),
    path("rollouts/<str:id>/approve/", api.ApproveView.as_view()),
    path("rollouts/<str:id>/roll-back/", api.RollBackView.as_view()),
    path("rollouts/<str:id>/abort/", api.AbortView.as_view()),
    path("decisions/", api.DecisionsView.as_view()),
    path("decisions/<str:id>/", api.DecisionView.as_view()),
    path("decisions/<str:id>/undo/", api.UndoView.as_view()),
    path("rollback-plans/", api.PlansView.as_view()),
    path("rollback-plans/<str:id>/", api.PlanView.as_view()),
    path("approvals/", api.ApprovalsView.as_view()),
    path("approvals/<str:id>/approve/", api.ApproveAnswerView.as_view()),
    path("approvals/<str:id>/reject/", api.RejectAnswerView.as_view()),
    path("routes/<str:key>/state/", api.RouteStateView.as_view()),
    path("routes/<str:key>/fall-back/", api.FallBackView.as_view()),
    path("routes/<str:key>/restore/", api.RestoreView.as_view()),
    path("routes/<str:key>/measured/", api.BeforeAfterView.as_view()),
]
