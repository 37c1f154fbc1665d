"""Publications on the wire."""

from typing import Annotated

from pydantic import Field

from app.api.wire import Id, IdText, TimeText, WireAnswer, WireRequest, Words
from app.services.publications import PublicationRequest


class PublicationCreate(WireRequest):
    """To whom a released result is published, for good: members of projects, or the whole house."""

    reason: Words
    project_ids: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None

    def to_request(self) -> PublicationRequest:
        """What the service takes."""
        ids = None if self.project_ids is None else tuple(self.project_ids)
        return PublicationRequest(self.reason, ids)


class PublicationRead(WireAnswer):
    """A publication; `project_ids` null is everybody in the house."""

    job_id: IdText
    project_ids: list[IdText] | None
    reason: str
    published_by: IdText
    published_at: TimeText
