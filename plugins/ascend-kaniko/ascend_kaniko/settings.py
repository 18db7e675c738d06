"""What can be set in ``[tool.ascend.plugins.kaniko]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UPSTREAM = "gcr.io/kaniko-project/executor:v1.24.0"
"""The last image of the project that began it, archived in June 2025."""
MAINTAINED = "ghcr.io/osscontainertools/kaniko:v1.28.3"
"""An image of the fork that is maintained."""


@dataclass(frozen=True, slots=True)
class KanikoSettings:
    """Which executor runs, and how: *executor* says how it is called, *image* where else it lies.

    *cache* keeps the layers of single steps in a repository of their own for two weeks.
    """

    executor: Literal["maintained", "upstream"] = "maintained"
    image: str | None = None
    cache: bool = True
    installer: Literal["pip", "uv"] = "pip"

    @property
    def reference(self) -> str:
        """The image that is run."""
        return self.image or (MAINTAINED if self.executor == "maintained" else UPSTREAM)
