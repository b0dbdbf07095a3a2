from django.urls import path

from apps.flags.api import audiences, flags, routes, versions

urlpatterns = [
    path("flags/", flags.FlagsView.as_view()),
    path("flags/<str:key>/", flags.OneFlagView.as_view()),
    path("flags/<str:key>/weights/", flags.WeightsView.as_view()),
    path("flags/<str:key>/weights/preview/", flags.PreviewView.as_view()),
    path("flags/<str:key>/switch-off/", flags.SwitchOffView.as_view()),
    path("flags/<str:key>/restore/", flags.SwitchBackView.as_view()),
    path("flags/<str:key>/archive/", flags.ArchiveView.as_view()),
    path("flags/<str:key>/unarchive/", flags.UnarchiveView.as_view()),
    path("flags/<str:key>/rename/", flags.RenameView.as_view()),
    path("flags/<str:key>/exposures/", flags.ExposuresView.as_view()),
    path("flags/<str:key>/versions/", versions.VersionsView.as_view()),
    path("flags/<str:key>/versions/compare/", versions.CompareView.as_view()),
    path("flags/<str:key>/versions/<int:revision>/", versions.OneVersionView.as_view()),
    path("flags/<str:key>/revert/", versions.RevertView.as_view()),
    path("audiences/", audiences.AudiencesView.as_view()),
    path("audiences/<str:key>/", audiences.OneAudienceView.as_view()),
    path("clients/", flags.ClientsView.as_view()),
    path("routes/", routes.RoutesView.as_view()),
    path("routes/<str:key>/", routes.OneRouteView.as_view()),
    path("evaluate/", routes.EvaluateView.as_view()),
]
