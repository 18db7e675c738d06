"""What the table of the cluster kubernetes in the configuration may say."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.options import Options, options_of
from ascend.errors import ConfigError
from ascend.model import Profile


def options(**table):
    return options_of(Profile(plugin_config={"kubernetes": table}))


def test_nothing_need_be_said():
    assert options_of(Profile()) == Options(None, 600.0)


def test_what_is_said_holds():
    assert options(kubeconfig="~/.kube/team", unreachable_timeout=30) == Options("~/.kube/team", 30.0)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kubeconfg": "x"}, r"no setting 'kubeconfg': there are kubeconfig, unreachable_timeout"),
        ({"kubeconfig": 3}, "must be a path"),
        ({"unreachable_timeout": 0}, "above 0"),
        ({"unreachable_timeout": True}, "must be a number"),
        ({"unreachable_timeout": "60"}, "must be a number"),
    ],
)
def test_what_does_not_fit_is_refused(table, words):
    with pytest.raises(ConfigError, match=words):
        options(**table)
