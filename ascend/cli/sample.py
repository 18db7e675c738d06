"""The Job and the image of a task that does nothing, as `ascend doctor` tries them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ascend._builtin.kubernetes.finished import finished
from ascend._core.manifest import Delivery, base_image_of, job_manifest
from ascend._core.manifest_patch import patched
from ascend._core.plugins.asking import Plugins
from ascend.building.build_options import build_options
from ascend.building.names import Place, check_images, parse_image, parse_place
from ascend.building.registry import Registry
from ascend.cli.findings import Finding
from ascend.cli.kubernetes import in_time
from ascend.errors import AscendError
from ascend.model import PlacedFile, Task

if TYPE_CHECKING:
    from ascend.building.names import ImageName
    from ascend.model import Manifest, Profile

__all__ = ["check_image", "sample_job"]

# A firewall may let nothing through, and say nothing either.
_REGISTRY_SECONDS = 20.0


def sample_job(profile: Profile, namespace: str) -> Manifest:
    """Return the Job that a call with the needs of *profile* would get, if it did nothing."""
    run, plugins, needs = secrets.token_hex(4), Plugins.load(profile), profile.needs
    task = Task(f"{run}-1", run, f"asc-{run}-1", "doctor", profile.user, profile.project, needs)
    delivery = Delivery(PlacedFile("/ascend/files/doctor/runner.zip", {"secret": {"secretName": "asc-doctor"}}), {})
    node_type = plugins.node_type(needs.node_type, profile) if needs.node_type else None
    job = job_manifest(task, image=base_image_of(needs, profile), delivery=delivery, node_type=node_type)
    plugins.modify_job(job, task, profile)
    job = patched(job, needs.job_patch or {})
    job = finished(job, namespace=namespace, owner={}, pull_secret=profile.registry_secret)
    # There is no run, so there is no owner.
    del job["metadata"]["ownerReferences"]
    return job


def check_image(profile: Profile) -> Finding:
    """Tell whether the image of a task may be used, has a fixed name, and is in its registry, as seen from here."""
    job = sample_job(profile, "")
    check_images(job, profile.allowed_registries)
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    state, text = _asked(profile, parse_image(image))
    if state == "failed":
        remedy = "correct base_image, or push it; a registry that shows it only to some may need your `docker login`"
        return Finding("image", "failed", f"{image} is not there: {text}", remedy)
    text = f"{image} {text}; whether the nodes may pull it shows only when a task starts"
    name, _, tag = image.rpartition("/")[2].partition(":")
    if "@" not in name and tag in {"", "latest"}:
        remedy = "write a tag or digest into base_image, or tasks of one run may get different images"
        return Finding("image", "warning", f"{text}; it has no fixed tag", remedy)
    return Finding("image", state, text)


def _asked(profile: Profile, image: ImageName) -> tuple[Literal["ok", "failed", "unknown"], str]:
    """Ask the registry for *image*; return a state and what it said."""
    found: list[str | AscendError | None] = []

    def ask() -> None:
        try:
            found.append(_registry(profile, image.registry).digest(image))
        except AscendError as error:
            # Nodes may reach what is out of reach from here, with credentials of their own.
            found.append(error)

    if not in_time(ask, _REGISTRY_SECONDS) or not found:
        return "unknown", f"was not seen: {image.registry} has not answered within {_REGISTRY_SECONDS:.0f} s"
    (answer,) = found
    if isinstance(answer, AscendError):
        return "unknown", f"was not seen: {answer}"
    if answer is None:
        return "failed", f"{image.registry} has no {image.wanted} of {image.repository}"
    return "ok", "is in its registry, as seen from here"


def _registry(profile: Profile, name: str) -> Registry:
    place = parse_place(profile.registry) if profile.registry else Place("", "")
    place = replace(place, others=build_options(profile).plain_registries)
    return Registry(name, plain=place.speaks_plainly(name), ca_file=profile.certificates)
