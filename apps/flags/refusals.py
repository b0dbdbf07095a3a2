"""What the services of flags refuse, each in one sentence."""

from typing import Any

from apps.core.refusals import Refused


class FlagIsHeld(Refused):
    code = "flag_is_held"
    sentence = "{holder} holds {key}. Pause or abort it first."


class NoFallback(Refused):
    code = "no_fallback"
    sentence = "{key} has no fallback variant to switch to."


class VariantIsUsed(Refused):
    code = "variant_is_used"
    sentence = "Variant {variant} of {key} is still {use}."


class PreviewIsShadowOnly(Refused):
    code = "preview_is_shadow_only"
    sentence = "{model} is a preview: it may serve {key}, a critical route, in shadow only."


class FlagIsArchived(Refused):
    code = "flag_is_archived"
    sentence = "{key} is archived and no longer served. Bring it back first."


class NotArchived(Refused):
    code = "not_archived"
    sentence = "{key} is still served. Archive it first; what is archived can be brought back, what is deleted cannot."


class FlagIsRequired(Refused):
    code = "flag_is_required"
    sentence = "{key} is a prerequisite of {others}: {why}."


class CannotBeRenamed(Refused):
    code = "cannot_be_renamed"
    sentence = "{key} keeps its name: {why}."


class RevertWouldMove(Refused):
    code = "revert_would_move_traffic"
    sentence = (
        "{key} was moved by {holder} since revision {revision}: this revert would carry the default {old} back in for"
        " everybody. Revert the other fields, or change the default by itself."
    )


class AudienceIsUsed(Refused):
    code = "audience_is_used"
    sentence = "Audience {key} is used by {flags}."


class ChangeRequestNeeded(Refused):
    """Four eyes: the way leads through a change request."""

    code = "change_request_needed"
    sentence = (
        "{environment} is protected: propose this as a change request (POST /api/v1/change-requests/), which another"
        " person approves. Switches work at once."
    )

    @property
    def extra(self) -> dict[str, Any]:
        return {"how": "/api/v1/change-requests/", "environment": self.facts["environment"]}


class DraftConflicts(Refused):
    """What a draft was made upon is no longer so: it is refused whole, and says what moved."""

    code = "draft_conflicts"
    sentence = "{subject} changed since this was drafted: {why}"

    def __init__(self, *, subject: str, why: str, changes: dict[str, Any] | None = None) -> None:
        self.changes = changes or {}
        super().__init__(subject=subject, why=why)

    @property
    def extra(self) -> dict[str, Any]:
        return {"changes": self.changes}


class ApprovalIsVoid(Refused):
    code = "approval_is_void"
    sentence = "The approval by {by} is void: {why}. Ask for another one."


class NotInThisState(Refused):
    code = "not_in_this_state"
    sentence = "This change request is {state}; {verb} is for one that is {needed}."


class OwnRequest(Refused):
    code = "own_request"
    sentence = "{who} wrote this change request: another person approves it."
    status = 403
