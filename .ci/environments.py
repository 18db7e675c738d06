"""Makes the environments in which `make` runs: one for every Python there is, made anew when its inputs change.

usage: environments.py         .cache/venvs/VERSION for each: the project, its plugins and the tools
       environments.py demo    .cache/venvs/demo of the newest Python: the project only
       environments.py bench   .cache/venvs/bench of the newest Python: the project, and its plugins as users have them

All versions are those of constraints.txt.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
VERSIONS = ("3.11", "3.12", "3.13")
OLDEST_UV = (0, 9)


def main() -> None:
    """Make or refresh the environments; name the Pythons that are missing."""
    found = {version: python for version in VERSIONS if (python := find_python(version))}
    if not found:
        sys.exit(f"error: found no Python of {', '.join(VERSIONS)} on PATH or under pyenv; install one of them")
    uv = find_uv()
    if sys.argv[1:] in (["demo"], ["bench"]):
        refresh(uv, sys.argv[1], list(found.values())[-1], develop=False)
        return
    for version, python in found.items():
        refresh(uv, version, python)
    for version in VERSIONS:
        if version not in found:
            print(f"Python {version}: NOT TESTED, because it is neither on PATH nor under pyenv", flush=True)
            shutil.rmtree(CACHE / "venvs" / version, ignore_errors=True)


def find_python(version: str) -> str | None:
    """Return an interpreter of *version* that really starts: a pyenv shim may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [f"python{version}", *sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")))]
    for each in candidates:
        # Where an environment is active, the one that it was made from.
        code = "import sys; print(*sys.version_info[:2], sep='.'); print(sys._base_executable)"
        lines = output_of([each, "-c", code]).splitlines()
        if lines[:1] == [version]:
            return lines[1]
    return None


def find_uv() -> str:
    """Return a uv that is recent enough: the one on PATH, or one of our own in .cache/tools."""
    own = CACHE / "tools" / "bin" / ("uv.exe" if os.name == "nt" else "uv")
    for each in (str(own), "uv"):
        match = re.match(r"uv (\d+)\.(\d+)", output_of([each, "--version"]))
        if match and tuple(map(int, match.groups())) >= OLDEST_UV:
            return each
    print("uv: installing it into .cache/tools", flush=True)
    # Into a folder, because Debian's Python can neither make environments by itself nor be installed into.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--target", str(CACHE / "tools"), "--constraint", str(CONSTRAINTS), "uv"]
    if subprocess.run(pip, check=False).returncode:
        sys.exit("error: neither uv nor pip works here; install one of them (Debian: apt-get install python3-pip)")
    return str(own)


def refresh(uv: str, name: str, python: str, *, develop: bool = True) -> None:
    """Bring the environment called *name* up to date; does nothing if its inputs are as they were."""
    plugins = [] if name == "demo" else sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    venv = CACHE / "venvs" / name
    stamp, digest = venv / "inputs.sha256", digest_of(name, python, plugins)
    if stamp.is_file() and stamp.read_text() == digest:
        print(f"{name}: ready in .cache/venvs/{name}", flush=True)
        return
    print(f"{name}: making .cache/venvs/{name} with {python}", flush=True)
    call([uv, "venv", "--quiet", "--clear", "--python", python, str(venv)])
    # A package in a folder of its author's travels with each call.
    folders = ["--editable", str(ROOT)]
    folders += [argument for path in plugins for argument in (["--editable"] if develop else []) + [str(path)]]
    install = [uv, "pip", "install", "--quiet", "--python", str(venv), "--constraint", str(CONSTRAINTS)]
    tools = ["--group", "dev"] if develop else []
    call([*install, "--build-constraint", str(CONSTRAINTS), *tools, *folders])
    stamp.write_text(digest)


def digest_of(name: str, python: str, plugins: list[Path]) -> str:
    """Return a digest of all that an environment is made from."""
    files = [CONSTRAINTS, Path(__file__), *(path / "pyproject.toml" for path in (ROOT, *plugins))]
    if name == "bench":
        files += (each for path in plugins for each in sorted(path.rglob("*.py")))
    parts = [python.encode(), str(ROOT).encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def call(command: list[str]) -> None:
    """Run *command* in the project's root; end with its status if it fails."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def output_of(command: list[str]) -> str:
    """Return what *command* prints, or nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()
