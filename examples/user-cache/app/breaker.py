"""Leaves Redis alone for a while after it failed: 2, 4, 8, 16, 32, then 60 seconds."""

import time
from collections.abc import Callable


class Breaker:
    def __init__(self, longest: float = 60.0, clock: Callable[[], float] = time.monotonic):
        self.longest = longest
        self.clock = clock
        self.failures = 0
        self.closed_until = 0.0  # closed to calls, as a shop is

    @property
    def is_open(self) -> bool:
        """Redis has failed and has not answered since."""
        return self.failures > 0

    def lets_through(self) -> bool:
        """Whether Redis may be asked. After a wait one caller may try; the others go on without."""
        if not self.is_open:
            return True
        if self.clock() < self.closed_until:
            return False
        self.closed_until = self.clock() + self.wait()
        return True

    def failed(self) -> None:
        self.failures += 1
        self.closed_until = self.clock() + self.wait()

    def succeeded(self) -> bool:
        """Answers whether this was the end of an outage."""
        was_open, self.failures = self.is_open, 0
        return was_open

    def wait(self) -> float:
        return min(2.0 ** min(self.failures, 16), self.longest)
