"""Who may come in: how many connections, requests and bytes the front holds, and who goes first when there is no room.

A request takes a place when its whole body has come, and a body counts by the bytes that have come. So a caller that sends
slowly takes nobody's place. When bytes or connections run out, the slowest senders are given up first.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Protocol

BODY_TIME = 60.0  # s for a whole body
SEND_TIME = 60.0  # s for the caller to take an answer
PACE_TIME, PACE = 10.0, 1000  # a body that is not complete brings so many bytes a second, over so many seconds
MEASURED = 1.0  # s over which a sender's speed is measured; nobody is given up sooner
SLOW = 1 << 16  # bytes a second; a slower sender is given up when there is no room


class Arrival:
    """Bytes that a connection waits for: the next request, a head or a body."""

    def __init__(self, patience: float, paced: bool = False, idle: bool = False):
        """patience: seconds in all. paced: a minimum speed is asked for. idle: between two requests."""
        self.patience, self.paced, self.idle = patience, paced, idle
        self.size = 0  # bytes so far
        self.given_up = False
        self.wait: asyncio.Timeout | None = None  # that of the read under way
        self.began = self._last = self._marked = self._paced_from = time.monotonic()
        self._marked_size = self._paced_size = 0
        self._speed = math.inf

    def due(self) -> float:
        """The time by which the next bytes must have come."""
        end = self.began + self.patience
        return min(end, self._paced_from + PACE_TIME) if self.paced else end

    def add(self, size: int) -> None:
        """Count bytes that have come."""
        now = self._last = time.monotonic()
        self.size += size
        if self.size - self._paced_size >= PACE * PACE_TIME:
            self._paced_from, self._paced_size = now, self.size
        if now - self._marked >= MEASURED:
            self._speed = (self.size - self._marked_size) / (now - self._marked)
            self._marked, self._marked_size = now, self.size

    def speed(self) -> float:
        """Bytes a second of late; infinite for one that has just begun."""
        return 0 if time.monotonic() - self._last >= MEASURED else self._speed

    def give_up(self) -> None:
        """End the wait for more at once."""
        self.given_up = True
        if self.wait is not None and not self.wait.expired():
            self.wait.reschedule(asyncio.get_running_loop().time())


class Departure(Arrival):
    """An answer that a caller takes, so many bytes of it so far."""

    def __init__(self, total: int):
        super().__init__(SEND_TIME)
        self.total = total

    @property
    def left(self) -> int:
        """Bytes that are still held for the caller."""
        return 0 if self.given_up else max(0, self.total - self.size)


class Places:
    """Requests that wait for the model, and the bytes of all bodies and of all answers that callers have not taken."""

    def __init__(self, most: int, most_bytes: int):
        self.most, self.most_bytes = most, most_bytes
        self.taken = 0  # requests whose body is complete
        self.taken_bytes = 0  # of their bodies
        self.arriving: set[Arrival] = set()
        self.leaving: set[Departure] = set()

    @property
    def unread(self) -> int:
        """Bytes of answers that callers have not taken."""
        return sum(departure.left for departure in self.leaving)

    @property
    def bytes(self) -> int:
        """Bytes held, of complete bodies and others, and of answers."""
        return self.taken_bytes + self.unread + sum(arrival.size for arrival in self.arriving if not arrival.given_up)

    def promises(self, size: int) -> bool:
        """Whether a request with so many bytes would find room beside what is held, once slow readers of answers are given up for it."""
        fits = self._free(self.most_bytes - self.taken_bytes - size)
        return self.taken < self.most and (fits or not self.taken_bytes + self.unread)

    def _free(self, room: int) -> bool:
        """Whether the answers that callers have not taken are no more than so many bytes; the slowest readers are given up for that."""
        while self.unread > room and (slowest := slowest_of(self.leaving)):
            slowest.give_up()
        return self.unread <= room

    @contextlib.contextmanager
    def departure(self, size: int) -> Iterator[Departure]:
        """Count an answer of so many bytes while a caller takes it."""
        departure = Departure(size)
        self.leaving.add(departure)
        self._free(self.most_bytes)
        try:
            yield departure
        finally:
            self.leaving.discard(departure)

    def has_room(self, arrival: Arrival) -> bool:
        """Whether what has come of a body may be kept, once slower senders are given up for it. A lone body always may."""
        held = self.bytes
        while held > self.most_bytes and (slowest := slowest_of(self.arriving - {arrival})):
            slowest.give_up()
            held -= slowest.size
        return held <= self.most_bytes or held == arrival.size

    def give_up_slow(self, everybody: bool = False) -> None:
        """Give up the senders that are slow, or all of them, and the slow readers of answers."""
        for arrival in (*self.arriving, *self.leaving):
            if arrival.speed() < SLOW or (everybody and arrival in self.arriving):
                arrival.give_up()

    def take(self, size: int) -> "Place | None":
        """A place for a request with a complete body, if there is one."""
        if not self.promises(size):
            return None
        self.taken += 1
        self.taken_bytes += size
        return Place(self, size)


class Place:
    """That of one request."""

    def __init__(self, places: Places, size: int):
        self.places, self.size, self.held = places, size, True

    def leave(self) -> None:
        """Give it back; once is enough."""
        if self.held:
            self.held = False
            self.places.taken -= 1
            self.places.taken_bytes -= self.size


class CallerGone(Exception):
    """The caller closed the connection."""


class Turns:
    """The requests that TorchServe has, so many at once; the others wait here in their order.

    TorchServe cannot be told to forget a request. One that waits here is dropped when its caller leaves or its time is over.
    """

    def __init__(self, most: int):
        self.most, self.running = most, 0
        self._waiting: deque[tuple[Guest, Place, asyncio.Future[None]]] = deque()

    async def take(self, guest: "Guest", place: Place) -> None:
        """Wait for a turn. Raises CallerGone."""
        if self.running < self.most:
            self.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((guest, place, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # it came at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give the turn to the next whose caller is still there."""
        self.running -= 1
        while self._waiting and self.running < self.most:
            guest, _, turn = self._waiting.popleft()
            if turn.done():
                continue
            if guest.gone:
                turn.set_exception(CallerGone())
            else:
                self.running += 1
                turn.set_result(None)

    def drop_gone(self) -> None:
        """Drop the waiting requests whose callers have left; their places are free at once."""
        for guest, place, turn in self._waiting:
            if guest.gone and not turn.done():
                turn.set_exception(CallerGone())
                place.leave()


class Guest(Protocol):
    """A connection, as far as it counts here."""

    peer: str  # the address at its other end
    arrival: Arrival | None  # what it waits for, if it waits for its caller

    @property
    def gone(self) -> bool: ...

    def close(self) -> None: ...


class Connections:
    """The open connections, bounded in all and for one peer."""

    def __init__(self, most: int, most_of_peer: int):
        self.most, self.most_of_peer = most, most_of_peer
        self.guests: set[Guest] = set()
        self.peers: Counter[str] = Counter()

    def enter(self, guest: Guest) -> bool:
        """Count a new connection. If there are too many, one that waits for a slow sender ends; False if there is none."""
        self.guests.add(guest)
        self.peers[guest.peer] += 1
        of_peer = self.peers[guest.peer] > self.most_of_peer
        if not of_peer and len(self.guests) <= self.most:
            return True
        slowest = slowest_of(each.arrival for each in self.guests if each.arrival is not None and (not of_peer or each.peer == guest.peer))
        if slowest is not None:
            slowest.give_up()
        return slowest is not None

    def leave(self, guest: Guest) -> None:
        self.guests.discard(guest)
        self.peers[guest.peer] -= 1
        if not self.peers[guest.peer]:
            del self.peers[guest.peer]


def slowest_of(arrivals) -> Arrival | None:
    """The slowest sender; connections between two requests come last. None if all are fast enough or have just begun."""
    slow = [(arrival.idle, arrival.speed(), arrival.began, arrival) for arrival in arrivals if not arrival.given_up]
    return min((each for each in slow if each[1] < SLOW), key=lambda each: each[:3], default=(None,))[-1]
