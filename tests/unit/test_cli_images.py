"""What ``ascend image`` and ``ascend admin`` make of what there is; on a real cluster it is in tests/cluster."""

from __future__ import annotations

import click
import pytest

from ascend.cli.admin import prepull_job
from ascend.cli.image_gc import Span, delete_unused, is_unused, refuse_unseen
from ascend.cli.images import ImageView, Uses, find_image
from ascend.errors import PermissionDeniedError
from ascend.model import NodeType, Profile

DIGEST = f"sha256:{'0' * 64}"


def view(*keys, used=None):
    return ImageView(f"registry.example/env@{DIGEST}", keys, 1, "layer", "python", "numpy", used, ())


def test_the_last_use_of_an_image_is_that_of_any_of_its_keys():
    uses = Uses({"a": 10.0, "b": 20.0, "c": 30.0}, {}, {}, everywhere=True)
    assert uses.of(("a", "b"), DIGEST) == (20.0, ())
    assert uses.of(("d",), DIGEST) == (None, ())


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (f"registry.example/env@{DIGEST}", True),
        ("registry.example/env:key", True),
        ("registry.example/env:other-key", False),
        (f"registry.example/env@sha256:{'1' * 64}", False),
    ],
)
def test_a_job_names_an_image_by_digest_or_by_key(image, named):
    uses = Uses({}, {image: ("team/asc-1",)}, {}, everywhere=True)
    assert uses.of(("key",), DIGEST)[1] == (("team/asc-1",) if named else ())


def test_an_image_is_found_by_the_beginning_of_a_key():
    images = [view("abcd", "ef"), view("abxy")]
    assert find_image(images, "ef") is images[0]
    assert find_image(images, "nothing") is None
    with pytest.raises(click.UsageError, match="2 images have keys that begin with ab"):
        find_image(images, "ab")


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("45m", 2_700), ("90s", 90)])
def test_a_stretch_of_time(text, seconds):
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "1.5h", "-1d"])
def test_what_is_no_stretch_of_time(text):
    with pytest.raises(click.BadParameter, match="such as 30d"):
        Span().convert(text, None, None)


def test_an_image_whose_use_nobody_has_noted_is_kept_unless_it_is_asked_for():
    assert not is_unused(view("a"), 100.0, 10.0, unknown=False)
    assert is_unused(view("a"), 100.0, 10.0, unknown=True)
    assert is_unused(view("a", used=80.0), 100.0, 10.0, unknown=False)
    assert not is_unused(view("a", used=95.0), 100.0, 10.0, unknown=True)


def test_a_prepull_has_a_pod_for_each_node_and_tolerates_what_keeps_others_away():
    gpu = NodeType({"kind": "gpu"}, tolerations=({"key": "gpu", "operator": "Exists"},))
    job = prepull_job("registry.example/cuda:1", gpu, 3, Profile(registry_secret="pusher"), 60.0)
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 3, "Indexed")
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"] == {"kind": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "pusher"}]
    assert pod["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"


def test_an_image_that_somebody_begins_to_use_while_others_are_deleted_is_kept(capsys):
    found = [view("first", used=1.0), view("second", used=1.0), view("third", used=1.0)]
    uses, removed = {"first": 1.0, "second": 1.0, "third": 1.0}, []

    def remove(image, _):
        removed.append(image)
        uses["second"] = 2.0

    delete_unused(found, lambda: Uses(dict(uses), {}, {}, everywhere=True), remove)
    assert removed == [found[0], found[2]]
    assert "Kept second: somebody has begun to use it" in capsys.readouterr().out


def test_nothing_is_deleted_where_uses_may_be_unseen():
    refuse_unseen(Uses({}, {}, {}, everywhere=True), "namespace 'team'")
    with pytest.raises(PermissionDeniedError, match=r"only namespace 'team' may be read.* --one-namespace"):
        refuse_unseen(Uses({}, {}, {}, everywhere=False), "namespace 'team'")
