"""What is measured, and what must be reached: the goals for one worker that encrypts, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound to reach, and a better one to wish for."""

    must: float
    stretch: float | None
    at_least: bool
    """Whether more is better."""
    unit: str = ""
    """Of a target's own figure, which it bounds; empty where it bounds the proxy's figure divided by nginx's."""
    target: str = "proxy"
    """Whose figure it bounds."""

    def reached(self, figure: float) -> str:
        """Return `stretch`, `yes` or `no`."""
        for bound, verdict in ((self.stretch, "stretch"), (self.must, "yes")):
            if bound is not None and (figure >= bound if self.at_least else figure <= bound):
                return verdict
        return "no"

    def shown(self, bound: float | None) -> str:
        """Return a bound as people write it."""
        return "" if bound is None else f"{'≥' if self.at_least else '≤'} {bound:g} {self.unit or 'x'}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    key: str
    title: str
    decimals: int = 0
    goal: Goal | None = None


MEASURES = (
    Measure("models_rate", "GET /v1/models, 32 connections, requests/s", 0, Goal(0.5, 0.8, at_least=True)),
    Measure("models_cpu", "  CPU µs per request", 1),
    Measure("chat_rate", "chat 1.8 kB, 32 connections, requests/s", 0, Goal(0.35, 0.55, at_least=True)),
    Measure("chat_cpu", "  CPU µs per request", 1),
    Measure("chat_one_rate", "chat 1.8 kB, 1 connection, requests/s"),
    Measure("chat_one_added", "  p50 added to the stub's own, ms", 3, Goal(2.5, 1.6, at_least=False)),
    Measure("chat_one_cpu", "  CPU µs per request", 1),
    Measure("paced_cpu", "32 streams at 50 events/s, CPU µs per event", 1, Goal(4, 2.5, at_least=False)),
    Measure("saturated_rate", "32 streams at full speed, events/s", 0, Goal(0.40, 0.55, at_least=True)),
    Measure("saturated_cpu", "  CPU µs per event", 1),
    Measure("start", "start to listening, s", 3, Goal(0.8, 0.4, at_least=False, unit="s")),
    Measure("idle_rss", "idle memory, RSS, MB", 1, Goal(55, 35, at_least=False, unit="MB")),
    Measure("idle_pss", "idle memory, PSS, MB", 1),
    Measure("upload_body", "upload: memory above idle, by its size", 2, Goal(4, None, at_least=False, unit="x")),
    Measure("upload", "  the same, MB", 1, Goal(10, None, at_least=False, unit="MB", target="gateway")),
    Measure("loaded_rss", "memory after all of this, RSS, MB", 1),
)
