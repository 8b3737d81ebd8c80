"""Links to seats, and what a telephone's camera reads of them."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

from tolmach.web.errors import ApiError

__all__ = ["link_to", "qr_svg"]


def link_to(page: str, room: str, code: str) -> str:
    """The link by which somebody comes to a seat.

    Room and code stand behind the ``#``, which browsers send to nobody: no log and no ``Referer`` has them.

    Args:
        page: Address of the page for rooms as people reach it: ``https://example.org/room``.
        room: Id of the room.
        code: Of the seat.

    Raises:
        ApiError: 400 if ``page`` is no such address.
    """
    try:
        parts = urlsplit(page)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not page.isascii()
        or not page.isprintable()
        or port == 0
    ):
        raise ApiError(400, "bad-request", "the page is no address such as https://example.org/room")
    return f"{page}#{room}~{code}"


def qr_svg(text: str) -> str:
    """A text as a QR code (ISO/IEC 18004), an SVG document that scales.

    Level M repairs 15 % of it, for screens that mirror and projectors that blur. Takes some ms: call it in a thread.
    """
    import segno

    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", border=4, xmldecl=False, omitsize=True, dark="#000", light="#fff", nl=False
    )
    return out.getvalue().decode()
