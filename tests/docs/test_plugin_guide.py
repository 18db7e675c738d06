from __future__ import annotations

import re
from pathlib import Path

import pytest

from ascend.building.recipes import Failure, Recipe
from ascend.interfaces import ImageBuilder
from ascend.model import Environment, Profile

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/how-to/write-a-plugin.md").read_text(encoding="utf-8")
PLUGIN = ROOT / "plugins/ascend-example"
SOURCES = [
    path.read_text(encoding="utf-8")
    for path in (*PLUGIN.rglob("*.py"), PLUGIN / "pyproject.toml", PLUGIN / "README.md")
    if ".venv" not in path.parts
]
BLOCKS = re.findall(r"^```(?:python|toml)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1].strip()[:40])
def test_the_code_of_the_guide_is_that_of_the_example_plugin(block):
    assert any(block in source for source in SOURCES)


def test_the_example_plugin_stays_below_100_lines():
    lines = [
        line for path in PLUGIN.glob("ascend_example/*.py") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert 0 < len(lines) < 100


def test_the_recipe_of_the_guide_is_one():
    page = (ROOT / "docs/how-to/write-an-image-builder.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names = {}
    exec(block, names)
    recipe = names["CraneRecipe"]()
    assert isinstance(recipe, Recipe)
    environment = Environment(("six",), "3.12", "python:slim", lock="six==1.17.0 --hash=sha256:00\n")
    assert recipe.refuses(environment) is None
    assert isinstance(recipe.failure(["denied"], b"", ""), Failure)
    assert isinstance(names["ascend_image_builder"]("crane", Profile(), None), ImageBuilder)
