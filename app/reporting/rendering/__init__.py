"""A report as a page and as a PDF, from its JSON alone (extra `reports`)."""

from app.reporting.rendering.html import to_html
from app.reporting.rendering.pdf import to_pdf

__all__ = ["to_html", "to_pdf"]
