"""The engine of all builders that build in the cluster: from an environment to an image, by whatever recipe.

::

    environment ──> lock ──> key ──> HEAD in the registry ── there ──> by its digest
                                        │ not there
                                        └──> the build's Job, begun or joined ──> log to all who wait ──> HEAD
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ascend._builtin.kubernetes.cluster import connect_profile
from ascend._builtin.kubernetes.options import options_of
from ascend.building.build_errors import Attempt, build_error
from ascend.building.build_manifest import build_job, job_name
from ascend.building.build_options import build_options
from ascend.building.build_run import BuildRun, Order
from ascend.building.dockerfiles import check_dockerfile, sources_of
from ascend.building.flights import Flights
from ascend.building.locks import locked
from ascend.building.names import check_images, check_registry, image_key, parse_image, parse_place
from ascend.building.recipes import DOCKERFILE, FILES_FOLDER, Build
from ascend.building.registry import Registry
from ascend.building.usage import LOOK_AGAIN_SECONDS, note_use
from ascend.errors import ConfigError, EnvironmentBuildError, ImageBuildError
from ascend.model import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ascend._builtin.kubernetes.connection import Connection
    from ascend.building.build_options import BuildOptions
    from ascend.building.names import ImageName, Place
    from ascend.building.recipes import Recipe
    from ascend.interfaces import Storage
    from ascend.model import Environment, JobStatus, Profile

__all__ = ["JobBuilder"]

# What a Secret may hold, less what its other fields take.
_IN_A_SECRET = 1_000_000
_KEPT_LINES = 400
_LINK_SECONDS = 24 * 3600.0
# Tasks that are dispatched in waves need the same image: one failure is enough for all of them.
_REMEMBERED_SECONDS = 60.0


class JobBuilder:
    """An `ascend.interfaces.ImageBuilder` that builds by *recipe*, in Jobs of the cluster of *profile*.

    *storage* is where files go that are too large for a Secret. Who goes on using an image looks for it again now and
    then, by *clock*, since `ascend image gc` removes what is unused.
    """

    def __init__(
        self,
        recipe: Recipe,
        profile: Profile,
        storage: Storage | None = None,
        *,
        connect: Callable[[Profile], Connection] = connect_profile,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name: str = recipe.name
        self._recipe = recipe
        self._profile = profile
        self._storage = storage
        self._connect = connect
        self._flights: Flights[Image] = Flights(kept=LOOK_AGAIN_SECONDS, failed=_REMEMBERED_SECONDS, clock=clock)
        self._plans: dict[Environment, _Plan] = {}
        self._bases: dict[tuple[ImageName, str], ImageName] = {}
        self._closing = threading.Event()

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        """Return the image of *environment* by its digest, built by this call or by somebody else."""
        return self._flights.get(environment, lambda tell: self._ensure(environment, tell), report)

    def close(self) -> None:
        """End all waiting: `ensure` raises, and builds that nobody else waits for are stopped."""
        self._closing.set()

    def find(self, environment: Environment, report: Callable[[str], None]) -> Image | None:
        """Return the image of *environment* if it is there; builds nothing, and waits for no build."""
        plan = self._kept_plan(environment, report)
        digest = plan.registry.digest(plan.name)
        if digest is None:
            return None
        with self._connected() as connection:
            return _used(connection, plan, digest)

    def _ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        plan = self._kept_plan(environment, report)
        digest = plan.registry.digest(plan.name)
        with self._connected() as connection:
            if digest is None:
                digest = self._build(connection, plan, report)
            return _used(connection, plan, digest)

    def _kept_plan(self, environment: Environment, report: Callable[[str], None]) -> _Plan:
        """Return the plan of *environment*, made once: all tasks of a client have one lock and one base."""
        plan = self._plans.get(environment)
        if plan is None:
            plan = self._plans.setdefault(environment, self._plan(environment, report))
        # A registry is for one thread at a time.
        return plan._replace(registry=self._registry(plan.place, plan.name.registry))

    def _plan(self, environment: Environment, report: Callable[[str], None]) -> _Plan:
        """Return what is to be built, and where it goes; what cannot be built is refused here."""
        refusal = self._recipe.refuses(environment)
        if refusal is not None:
            msg = f"image_builder {self.name!r} cannot make this environment: {refusal}"
            raise EnvironmentBuildError(msg)
        if self._profile.registry is None:
            msg = (
                f"image_builder {self.name!r} needs a registry to push to: set registry, "
                "as in ASCEND_REGISTRY=registry.example/team/ascend"
            )
            raise ConfigError(msg)
        options = build_options(self._profile)
        place = replace(parse_place(self._profile.registry), others=options.plain_registries)
        environment = locked(environment, self._profile, report, source=self._recipe.builds_source)
        base, digests = self._base(environment, place)
        key = image_key(environment, base_digest=digests, builder=self.name, version=self._recipe.version)
        name = place.image(key)
        check_registry(str(name), self._profile.allowed_registries)
        return _Plan(environment, base, name, place, options, self._registry(place, name.registry))

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Yield a connection to where builds run; it is not kept, since nobody says when the last one was."""
        namespace = self._profile.build_namespace or self._profile.namespace
        connection = self._connect(replace(self._profile, namespace=namespace))
        try:
            yield connection
        finally:
            connection.close()

    def _base(self, environment: Environment, place: Place) -> tuple[ImageName, str]:
        """Return the base of *environment*, and the digests of all that the image is built on.

        A Dockerfile says itself what that is; an image of it that a variable names is not known before the build.
        """
        base = parse_image(environment.base_image)
        if environment.dockerfile is None:
            check_registry(environment.base_image, self._profile.allowed_registries)
            base = self._resolved(base, environment.platform, place)
            return base, base.digest
        check_dockerfile(environment.dockerfile, self._profile.allowed_registries)
        known = [source for source in sources_of(environment.dockerfile) if "$" not in source.image]
        images = [
            self._resolved(parse_image(each.image), each.platform or environment.platform, place) for each in known
        ]
        return base, " ".join(image.digest for image in images)

    def _resolved(self, image: ImageName, platform: str, place: Place) -> ImageName:
        """Return *image* by the digest of its tag; asked once, so that a client builds on one base."""
        if image.digest:
            return image
        found = self._bases.get((image, platform))
        if found is None:
            digest = self._registry(place, image.registry).manifest(image, platform).digest
            found = self._bases[image, platform] = image.at(digest)
        return found

    def _registry(self, place: Place, name: str) -> Registry:
        return Registry(name, plain=place.speaks_plainly(name), ca_file=self._profile.certificates)

    def _build(self, connection: Connection, plan: _Plan, report: Callable[[str], None]) -> str:
        """Build, or wait for who does; return the digest of what was pushed."""
        files = self._recipe.files(replace(plan.environment, base_image=str(plan.base)))
        build = Build(plan.environment, str(plan.base), plan.name, plan.place, self._profile, plan.options)
        build, small = self._bring(build, files)
        job = build_job(build, self.name, self._recipe.pod(build))
        check_images(job, self._profile.allowed_registries)
        lines: deque[str] = deque(maxlen=_KEPT_LINES)

        def take(line: str) -> None:
            lines.append(line)
            if line.strip():
                report(line)

        def exists() -> bool:
            return plan.registry.digest(build.destination) is not None

        report(f"building {build.destination} by {self.name} ({job_name(build.destination)})")
        order = Order(job, small, self._profile.user)
        run = BuildRun(connection, order, exists=exists, report=report, take=take)
        status = run.run(self._closing, options_of(self._profile).unreachable_timeout)
        if status is None and self._closing.is_set():
            msg = f"nobody waits for the image of {_listed(build.environment)} any more: the executor has ended"
            raise ImageBuildError(msg)
        digest = plan.registry.digest(build.destination)
        if digest is None:
            raise self._error(build, status, list(lines), files)
        report(f"built {build.destination}")
        return digest

    def _error(
        self, build: Build, status: JobStatus | None, lines: list[str], files: Mapping[str, bytes]
    ) -> ImageBuildError:
        dockerfile = files.get(DOCKERFILE, b"").decode()
        what, key = _listed(build.environment), build.destination.tag
        if status is None or status.phase == "succeeded":
            msg = f"the build of {what} has ended, but {build.destination} is not there: who deleted it?"
            return ImageBuildError(msg, lines=tuple(lines[-5:]), dockerfile=dockerfile)
        attempt = Attempt(self.name, what, key, dockerfile, build.options)
        return build_error(attempt, status, lines, self._recipe.failure(lines, status.receipt, dockerfile))

    def _bring(self, build: Build, files: Mapping[str, bytes]) -> tuple[Build, dict[str, bytes]]:
        """Return *build* with the places of its *files*, and those that go into its Secret."""
        small: dict[str, bytes] = {}
        where: dict[str, str] = {}
        for name, content in sorted(files.items(), key=lambda item: len(item[1])):
            if sum(map(len, small.values())) + len(content) <= _IN_A_SECRET:
                small[name], where[name] = content, f"{FILES_FOLDER}/{name}"
            else:
                where[name] = self._store(name, content)
        secret = f"{job_name(build.destination)}-{secrets.token_hex(4)}"
        digests = {name: sha256(content).hexdigest() for name, content in files.items()}
        return replace(build, files=where, digests=digests, secret=secret), small

    def _store(self, name: str, content: bytes) -> str:
        if self._storage is None:
            msg = (
                f"{name} of the build has {len(content):,} bytes, more than fits into a Secret, and no storage is "
                "set: set storage, as in ASCEND_STORAGE=s3://bucket/prefix, or keep files out by a .dockerignore"
            )
            raise ConfigError(msg)
        key = f"projects/{self._profile.project}/builds/{sha256(content).hexdigest()}"
        # What is there has the same content: a program of 20 MB is sent once.
        if key not in self._storage.list(key):
            self._storage.put(key, [content])
        return self._storage.sign(key, "GET", lifetime=_LINK_SECONDS)


class _Plan(NamedTuple):
    environment: Environment
    base: ImageName
    name: ImageName
    place: Place
    options: BuildOptions
    registry: Registry


def _used(connection: Connection, plan: _Plan, digest: str) -> Image:
    """Return the image of *plan*, and note that it is used."""
    image = plan.name.at(digest)
    note_use(connection, image, plan.name.tag)
    return Image(str(image))


def _listed(environment: Environment) -> str:
    return ", ".join(environment.requirements) or environment.base_image
