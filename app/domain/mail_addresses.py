"""The form of a mail address that the service writes to: plain ASCII, and no name beside it."""

import re
from typing import Final

from app.domain.documents import read_text
from app.domain.errors import InvalidParameter

ADDRESS_CHARACTERS_MOST: Final = 254
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})*")


def parse_address(document: object, pointer: str = "/address") -> str:
    """Validate an address; what is odd in it is refused, so that it can end no header line.

    Raises:
        InvalidParameter: another form; what was sent is not repeated.
    """
    text = read_text(document, pointer, most=ADDRESS_CHARACTERS_MOST)
    if ADDRESS.fullmatch(text) is None:
        raise InvalidParameter(pointer, "an address such as ada@house.example is expected")
    return text
