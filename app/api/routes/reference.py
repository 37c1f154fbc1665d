"""The description of the API as a page to read, without a script or an outside asset."""

from hashlib import sha256

from fastapi import APIRouter, Request, Response

from app.api.reference import page

router = APIRouter(tags=["client"])

# the page's own style is named by its hash, so nothing else could be put in
MEDIA_TYPE = "text/html; charset=utf-8"


@router.get(
    "/docs",
    response_class=Response,
    responses={200: {"description": "The page", "content": {"text/html": {}}}},
)
def read_reference(request: Request) -> Response:
    """Every route with its fields, answers and refusals, for people."""
    shown = getattr(request.app.state, "reference", None)
    if shown is None:
        shown = request.app.state.reference = page(request.app.openapi())
    headers = {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src '{shown.style_source}'; frame-ancestors 'none'; "
            "base-uri 'none'; form-action 'none'"
        ),
        "ETag": f'"{sha256(shown.html).hexdigest()}"',
    }
    return Response(shown.html, media_type=MEDIA_TYPE, headers=headers)
