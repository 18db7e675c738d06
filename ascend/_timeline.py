"""Where the time of a task went: the nouns `Phase` and `Timeline` of `ascend.model`."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Phase", "Timeline"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of a task's life: when it began (Unix time) and how long it took, in seconds."""

    name: str
    started: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the time of a task went, phase by phase.

    ``queue`` waited for a slot, ``environment`` made what ``requirements`` ask for, ``pack`` pickled and stored the
    call, ``start`` brought up the process, ``install`` installed there what the image lacks, ``load`` read the call,
    ``run`` was the function, ``return`` brought the answer back. A phase that has not begun is absent.
    """

    phases: tuple[Phase, ...] = ()

    def __getitem__(self, name: str) -> Phase:
        """Return the phase called *name*; `KeyError` if it has not begun."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)

    @property
    def seconds(self) -> float:
        """From submit to the end of the last phase."""
        if not self.phases:
            return 0.0
        last = self.phases[-1]
        return last.started + last.seconds - self.phases[0].started

    def __str__(self) -> str:
        """Return the phases on one line, as in ``queue 0.00 s, pack 0.01 s, …``."""
        return ", ".join(f"{phase.name} {phase.seconds:.2f} s" for phase in self.phases)

    def add(self, phase: Phase) -> Timeline:
        """Return this timeline with one more phase at its end."""
        return replace(self, phases=(*self.phases, phase))
