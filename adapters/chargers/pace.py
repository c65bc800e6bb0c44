"""How fast one client may send: a token bucket. Pure."""

FRAMES_PER_S = 200.0
BURST_FRAMES = 1_000.0
BYTES_PER_FRAME = 50_000
"""As many bytes count as one frame more."""


class Pace:
    """Counts what a client sends; who sends too fast is not read from for a while, and loses nothing by it."""

    __slots__ = ("_at_s", "_left")

    def __init__(self, now_s: float) -> None:
        self._left, self._at_s = BURST_FRAMES, now_s

    def pause_s(self, frames: int, size: int, now_s: float) -> float:
        """Count what came, and return for how many seconds nothing more is to be read, mostly 0."""
        self._left = min(BURST_FRAMES, self._left + (now_s - self._at_s) * FRAMES_PER_S)
        self._at_s = now_s
        self._left -= frames + size / BYTES_PER_FRAME
        return max(0.0, -self._left / FRAMES_PER_S)
