from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from ascend.building.plugin_settings import plugin_settings
from ascend.errors import ConfigError
from ascend.model import Profile


@dataclass(frozen=True)
class Settings:
    mode: Literal["fast", "safe"] = "safe"
    image: str | None = None
    cache: bool = True


def settings_of(**table):
    return plugin_settings(Profile(plugin_config={"mason": table}), "mason", Settings)


def test_what_is_not_said_is_as_by_default():
    assert plugin_settings(Profile(), "mason", Settings) == Settings()
    assert settings_of(image="mason:1", cache=False) == Settings(image="mason:1", cache=False)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"imgae": "a"}, r"\[tool.ascend.plugins.mason\] has no setting 'imgae'; did you mean image\?"),
        ({"zzz": 1}, "there are mode, image, cache"),
        ({"mode": "fats"}, "mode in .* is 'fats', and must be 'fast' or 'safe'"),
        ({"cache": "yes"}, "must be true or false"),
        ({"image": ""}, "must be a text"),
        ({"image": 3}, "must be a text"),
    ],
)
def test_what_is_wrong_is_named(table, message):
    with pytest.raises(ConfigError, match=message):
        settings_of(**table)
