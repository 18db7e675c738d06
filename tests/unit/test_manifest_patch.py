"""A patch over a manifest: what is merged, what is replaced, what is removed."""

from __future__ import annotations

from copy import deepcopy

import pytest

from ascend._core.manifest_patch import patched
from ascend.testing import sample_job, sample_task


@pytest.mark.parametrize(
    ("below", "patch", "result"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"t": {"a": 1, "b": 1}}, {"t": {"b": 2}}, {"t": {"a": 1, "b": 2}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": "text"}),
        # None removes, and says nothing of what is not there.
        ({"a": 1, "b": {"c": 1, "d": 1}}, {"a": None, "b": {"c": None}, "x": None}, {"b": {"d": 1}}),
        ({}, {"a": {"b": None, "c": [{"d": None, "e": 1}]}}, {"a": {"c": [{"e": 1}]}}),
        # Lists of what has no name are replaced.
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"t": [{"key": "a"}]}, {"t": [{"key": "b"}]}, {"t": [{"key": "b"}]}),
        ({"t": [{"name": "a"}, {"key": "b"}]}, {"t": [{"name": "a", "x": 1}]}, {"t": [{"name": "a", "x": 1}]}),
        ({"t": [{"name": "a"}]}, {"t": []}, {"t": []}),
        ({"t": "text"}, {"t": [{"name": "a"}]}, {"t": [{"name": "a"}]}),
    ],
)
def test_a_patch_over_a_table(below, patch, result):
    assert patched(below, patch) == result


def test_lists_of_what_has_a_name_are_merged_by_it_in_their_order():
    below = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    patch = {"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "2"}]}
    assert patched(below, patch) == {
        "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "1"}, {"name": "C", "value": "3"}]
    }


def test_mounts_are_told_apart_by_their_paths():
    below = {"volumeMounts": [{"name": "work", "mountPath": "/a"}, {"name": "tmp", "mountPath": "/b"}]}
    patch = {"volumeMounts": [{"name": "work", "mountPath": "/c"}, {"name": "tmp", "mountPath": "/b", "subPath": "x"}]}
    assert patched(below, patch)["volumeMounts"] == [
        {"name": "work", "mountPath": "/a"},
        {"name": "tmp", "mountPath": "/b", "subPath": "x"},
        {"name": "work", "mountPath": "/c"},
    ]


def test_neither_the_manifest_nor_the_patch_is_changed():
    job, patch = (
        sample_job(sample_task()),
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "tty": True}]}}}},
    )
    before = deepcopy((job, patch))
    result = patched(job, patch)
    result["spec"]["template"]["spec"]["containers"][0]["tty"] = False
    assert (job, patch) == before


def test_the_container_of_a_job_is_found_by_its_name():
    pod = {"containers": [{"name": "main", "tty": True}, {"name": "proxy"}], "dnsPolicy": "Default"}
    job = sample_job(sample_task())
    result = patched(job, {"spec": {"template": {"spec": pod}}})["spec"]["template"]["spec"]
    assert result["containers"] == [
        {**job["spec"]["template"]["spec"]["containers"][0], "tty": True},
        {"name": "proxy"},
    ]
    assert (result["dnsPolicy"], result["restartPolicy"]) == ("Default", "Never")
