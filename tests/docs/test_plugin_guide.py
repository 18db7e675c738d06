from __future__ import annotations

import re
from pathlib import Path

import pytest

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
