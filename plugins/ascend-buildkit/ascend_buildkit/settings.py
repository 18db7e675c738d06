"""What can be set in ``[tool.ascend.plugins.buildkit]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VERSION = "v0.25.1"


@dataclass(frozen=True, slots=True)
class BuildkitSettings:
    """How the daemon runs: *mode* ``privileged`` is for namespaces where an administrator allows that.

    *image* says where else it lies. *cache* keeps the layers of all steps in a repository of their own.
    """

    mode: Literal["rootless", "privileged"] = "rootless"
    image: str | None = None
    cache: bool = True
    installer: Literal["pip", "uv"] = "pip"

    @property
    def reference(self) -> str:
        """The image that is run."""
        return self.image or f"docker.io/moby/buildkit:{VERSION}{'-rootless' if self.mode == 'rootless' else ''}"
