"""What people say of a change that waits: a question, an answer, a doubt. Added to, never edited.

A comment decides nothing and changes nothing of what an approval is bound to (R19).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import ApprovalComment
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, snapshot
from app.domain.documents import read_text
from app.domain.errors import InvalidParameter
from app.services import access, approvals, audit, names
from app.services.access import Caller
from app.services.idempotency import Keyed, decide_once

CHARACTERS_MOST: Final = 2000
COMMENTS_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Comments:
    """Use cases on comments: whoever may read an approval reads them; auditors add none."""

    make_session: SessionMaker

    def add(self, caller: Caller, approval_id: UUID, text: str, keyed: Keyed) -> dict[str, Any]:
        """Add a comment to an approval, in whatever state that is.

        Raises:
            NotFound: no such approval, or one that the caller neither asked for nor oversees.
            InvalidParameter: an empty text, or one comment too many.
        """
        access.require_role(
            caller, "compliance_officer", "ml_engineer", action="comment on an approval"
        )
        said = read_text(text, "/text", most=CHARACTERS_MOST)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            approval = approvals.readable(session, caller, approval_id)
            count = select(func.count()).where(ApprovalComment.approval_id == approval.id)
            if (session.scalar(count) or 0) >= COMMENTS_MOST:
                raise InvalidParameter("/text", f"an approval takes {COMMENTS_MOST} comments")
            row = ApprovalComment(
                approval_id=approval.id,
                author_id=caller.principal_id,
                text=said,
                written_at=now,
            )
            session.add(row)
            session.flush()
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="approval.commented",
                subject=str(approval.id),
                facts={"comment": row.id},
                at=now,
            )
            return comment_json(row, caller.name)

        return decide_once(self.make_session, keyed, decide)

    def list(
        self, caller: Caller, approval_id: UUID, after: int | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Comments of an approval, oldest first; the page after `after`.

        Raises:
            NotFound: as `add`.
        """
        with snapshot(self.make_session) as session:
            approval = approvals.readable(session, caller, approval_id)
            of_it = select(ApprovalComment).where(ApprovalComment.approval_id == approval.id)
            last = None if after is None else (after,)
            statement = page_of(of_it, [ApprovalComment.id], last, limit)
            rows = session.scalars(statement).all()
            authors = names.people(session, [row.author_id for row in rows])
            return [comment_json(row, authors.get(row.author_id)) for row in rows]


def comment_json(row: ApprovalComment, author_name: str | None) -> dict[str, Any]:
    """A comment in the wire form."""
    return {
        "id": row.id,
        "approval_id": str(row.approval_id),
        "author_id": str(row.author_id),
        "author_name": author_name,
        "text": row.text,
        "written_at": row.written_at.isoformat(),
    }
