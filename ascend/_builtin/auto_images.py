"""Image builder `auto`: tasks install what they need at their start, until an image of it has been built beside them.

::

    ensure ──> is there an image? ── yes ──> Image, nothing to install
                   │ no        └── nobody can tell: a warning, and Image of `uv`
                   ├── count this use; the second one has the image built, in a thread ──> later calls
                   └──> Image of `uv`, with a lock to install
"""

from __future__ import annotations

import logging
import threading
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ascend.building.flights import Flights
from ascend.building.folders import cache_folder
from ascend.building.tables import known_table
from ascend.building.usage import LOOK_AGAIN_SECONDS
from ascend.errors import AscendError, ClusterError, ConfigError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ascend.interfaces import ImageBuilder
    from ascend.model import Environment, Image, Profile

__all__ = ["AutoImages", "Baker", "uses_before_image"]

_logger = logging.getLogger("ascend")
_DEFAULT_USES = 2
# A registry that does not answer is not asked again by each of ten thousand tasks.
_REMEMBERED_SECONDS = 60.0


class Baker(Protocol):
    """A builder that can also say whether it has built something already."""

    def find(self, environment: Environment, report: Callable[[str], None]) -> Image | None:
        """Return the image of *environment* if there is one."""
        ...

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        """Return the image of *environment*, building it if there is none."""
        ...


class AutoImages:
    """*quick* serves whatever *baker* has not built yet; *baker* begins at use number *uses*, also of earlier clients.

    Without a *baker*, which needs a registry, all is left to *quick*. Uses are counted below *folder*, ``uses`` in the
    user's cache. An image that cannot be looked for or built is reported, and the tasks go on as they did: none of them
    needs it.
    """

    name = "auto"

    def __init__(
        self,
        quick: ImageBuilder,
        baker: Baker | None,
        *,
        uses: int = _DEFAULT_USES,
        folder: Path | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._quick = quick
        self._baker = baker
        self._uses = uses
        self._folder = folder
        self._found: Flights[Image | None] = Flights(kept=LOOK_AGAIN_SECONDS, failed=_REMEMBERED_SECONDS, clock=clock)
        self._begun: set[Environment] = set()
        self._warned: set[Environment] = set()
        self._guard = threading.Lock()

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        baker = self._baker
        if baker is None or not environment.requirements:
            return self._quick.ensure(environment, report)
        try:
            # Asked once an hour: what others build meanwhile is found when our own build would begin.
            image = self._found.get(environment, lambda tell: baker.find(environment, tell), report)
        except (RegistryError, ClusterError) as exc:
            # A setting that is wrong is an error; that something does not answer is none, as for a build.
            self._warn_once(environment, exc)
            return self._quick.ensure(environment, report)
        if image is not None:
            return image
        if self._is_worth_it(environment):
            report(f"an image of {_listed(environment)} is built meanwhile; later tasks will need no installation")
            threading.Thread(
                target=self._bake, args=(baker, environment, report), name="ascend-bake", daemon=True
            ).start()
        return self._quick.ensure(environment, report)

    def close(self) -> None:
        """Leave builds to themselves: they need no client, and the next one finds their images."""
        self._quick.close()

    def _warn_once(self, environment: Environment, error: AscendError) -> None:
        with self._guard:
            known = environment in self._warned
            self._warned.add(environment)
        if not known:
            text = "whether there is an image of %s cannot be told, tasks go on installing it: %s"
            _logger.warning(text, _listed(environment), error)

    def _is_worth_it(self, environment: Environment) -> bool:
        """Count one more use; tell whether it is the one that has the image built."""
        with self._guard:
            if environment in self._begun or self._count(environment) < self._uses:
                return False
            self._begun.add(environment)
            return True

    def _count(self, environment: Environment) -> int:
        folder = self._folder or cache_folder("uses")
        folder.mkdir(parents=True, exist_ok=True)
        # One byte for each use: clients may append at the same time.
        with (folder / sha256(repr(environment).encode()).hexdigest()[:32]).open("ab") as file:
            file.write(b".")
            return file.tell()

    def _bake(self, baker: Baker, environment: Environment, report: Callable[[str], None]) -> None:
        try:
            baker.ensure(environment, _say_nothing)
        except AscendError as exc:
            _logger.warning("no image of %s was built, tasks go on installing it: %s", _listed(environment), exc)
            return
        # The next call looks for it; once somebody has removed it, it may be built again.
        self._found.forget(environment)
        with self._guard:
            self._begun.discard(environment)
        report(f"the image of {_listed(environment)} is there: tasks start from it now")


def uses_before_image(profile: Profile) -> int:
    """Return which use has an image built, by ``[plugins.auto]``; `ConfigError` if that makes no sense."""
    uses = known_table(profile, "auto", ["uses"]).get("uses", _DEFAULT_USES)
    if isinstance(uses, bool) or not isinstance(uses, int) or uses < 1:
        msg = (
            f"uses in [plugins.auto] must be a whole number above 0, not {uses!r}; image_builder 'uv' builds no images"
        )
        raise ConfigError(msg)
    return uses


def _listed(environment: Environment) -> str:
    return ", ".join(environment.requirements)


def _say_nothing(_: str) -> None:
    """Take the lines of a build for which nobody waits."""
