"""What a code lets somebody do in a room: sit at one seat, or, with the host's, anything."""

from __future__ import annotations

from tolmach.web.errors import ApiError
from tolmach.web.rooms.room import Room
from tolmach.web.rooms.seat import RoomSeat

__all__ = ["Entry"]


class Entry:
    """Who has come with which code.

    Attributes:
        room: The room.
        seat: The seat whose code it is; None for the host.
    """

    def __init__(self, room: Room, seat: RoomSeat | None) -> None:
        self.room = room
        self.seat = seat

    def seat_named(self, name: str | None) -> RoomSeat:
        """The seat of the code, or the one that the host names.

        Raises:
            ApiError: 400 if the host names none, 403 for another one, 404 if there is none of that name.
        """
        if self.seat is not None:
            if name not in (None, self.seat.plan.name):
                raise ApiError(403, "forbidden-seat", "this code is for another seat")
            return self.seat
        if name is None:
            raise ApiError(400, "bad-request", "say which seat (?seat=NAME)")
        try:
            return self.room.seats[name]
        except KeyError:
            raise ApiError(
                404, "not-found", f"the room has no such seat; it has {', '.join(self.room.seats)}"
            ) from None

    def require_host(self) -> None:
        """Ask whether it is the host. Raises ApiError 403."""
        if self.seat is not None:
            raise ApiError(403, "forbidden-seat", "only who has opened the room may do that")
