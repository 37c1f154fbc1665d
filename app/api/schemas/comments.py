"""Comments on the wire."""

from app.api.wire import IdText, TimeText, WireAnswer, WireRequest, Words


class CommentCreate(WireRequest):
    """What is said; it is never edited."""

    text: Words


class CommentRead(WireAnswer):
    """A comment on an approval."""

    id: int
    approval_id: IdText
    author_id: IdText
    author_name: str | None = None
    text: str
    written_at: TimeText


class CommentPage(WireAnswer):
    """All comments of an approval, oldest first."""

    items: list[CommentRead]
    next: str | None
