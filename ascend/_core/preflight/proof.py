"""Proves that a call unpickles elsewhere: in a new process that has nothing but what travels and what is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ascend._core.runner_archive import runner_archive
from ascend._core.source.local_modules import is_installed_path
from ascend._core.transport import lay_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ascend._core.source.tracker import Source

__all__ = ["prove"]

_TIMEOUT = 60.0
_LAST_LINES = 12
_PROGRAM = """
import json, sys
folder = sys.argv[1]
with open(folder + "/plan.json", encoding="utf-8") as file:
    plan = json.load(file)
absent = frozenset(plan["absent"])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            words = f"No module named {name!r} (it is installed here, and not in requirements)"
            raise ModuleNotFoundError(words, name=name)
sys.meta_path.insert(0, Absent())
sys.path[:0] = [folder + "/source", folder + "/runner.zip"]
sys.path += plan["installed"]
import pickle
parts = []
for number in range(plan["parts"]):
    with open(f"{folder}/part{number}", "rb") as file:
        parts.append(bytearray(file.read()))
try:
    pickle.loads(parts[0], buffers=parts[1:])
    words = ""
except BaseException as exc:
    import traceback
    words = "".join(traceback.format_exception_only(exc)).strip() or type(exc).__name__
    traceback.print_exc()
with open(folder + "/verdict", "w", encoding="utf-8", errors="backslashreplace") as file:
    file.write("verdict: " + words)
"""


def prove(
    parts: Sequence[bytes | memoryview], source: Source, *, absent: Iterable[str], timeout: float = _TIMEOUT
) -> str:
    """Unpickle the call in a clean process; return why that failed, or an empty text.

    *absent* are top-level modules that are installed here and will not be there. The function is not called.
    """
    with TemporaryDirectory(prefix="ascend-explain-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _lay_out(folder, parts, source, sorted(absent))
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM, name]
        with (folder / "errors").open("wb") as errors:
            try:
                done = subprocess.run(
                    command,
                    cwd=name,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"unpickling took longer than {timeout:g} s; what is imported or rebuilt there does not end"
        return _words(folder, done.returncode)


def _lay_out(folder: Path, parts: Sequence[bytes | memoryview], source: Source, absent: list[str]) -> None:
    (folder / "runner.zip").write_bytes(runner_archive())
    if source.files:
        lay_out(source.archive(), str(folder / "source"))
    for number, part in enumerate(parts):
        (folder / f"part{number}").write_bytes(part)
    installed = [path for path in dict.fromkeys(sys.path) if path and is_installed_path(os.path.join(path, ""))]  # noqa: PTH118 - a folder, with its separator
    plan = {"absent": absent, "installed": installed, "parts": len(parts)}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASCEND_")}
    # As in a pod: what is decorated runs in place, and nobody submits.
    return {**kept, "ASCEND_TASK_ID": "explain"}


def _words(folder: Path, exit_code: int) -> str:
    verdict = folder / "verdict"
    if verdict.exists() and (text := verdict.read_text("utf-8")).startswith("verdict: "):
        return text.removeprefix("verdict: ")
    lines = (folder / "errors").read_text("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
    return "\n".join([f"the process that unpickled it died (exit code {exit_code})", *lines])
