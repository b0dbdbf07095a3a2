"""What the deciding code says when asked for something that no flag may be: one sentence, and the field it is about."""


class Unfit(ValueError):
    def __init__(self, field: str, why: str) -> None:
        self.field = field
        super().__init__(why)
