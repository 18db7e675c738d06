"""Calls on a Kubernetes cluster beside bare Jobs, in the same minutes: how long they take, and what they ask for."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import OURS, ROOT, Options, Row, Table, last_json, minor

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = ROOT / ".cache" / "venvs" / "demo" / "bin" / "python"
BARE, INDEXED = "floor: bare Jobs", "floor: one bare Indexed Job"
_PHASES = ("start", "load", "run", "return")


def run(options: Options) -> list[Table]:
    from tests.testcluster import access
    from tests.testcluster.namespaces import temporary_namespace
    from tests.testcluster.paths import ClusterError, State

    much = {
        "pairs": 4 * options.runs,
        "row": 2 * options.runs,
        "rows": max(1, options.runs // 2),
        "burst": min(20, 4 * options.calls),
        "bursts": max(1, options.runs - 1),
        "many": max(1, options.tasks // 2),
        "manys": max(1, options.runs // 2),
    }
    subprocess.run([sys.executable, ".ci/environments.py", "demo"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    try:
        cluster = access.own_access(State.of_this_clone())
    except ClusterError as error:
        return [Table("one call on Kubernetes, after a warm-up call", "s", [Row(OURS, [], str(error))])]
    with tempfile.TemporaryDirectory() as folder, temporary_namespace(cluster, Path(folder)) as namespace:
        found = _client(much, namespace.environ, folder)
        audit = namespace.audit()
    return [*_tables(much, found), *_requests(found, audit)]


def _client(much: dict[str, int], variables: dict[str, str], folder: str) -> dict[str, Any]:
    given = {name: value for name, value in variables.items() if name != "ASCEND_STORAGE"}
    given["BENCH_IMAGE"] = given["ASCEND_BASE_IMAGE"].replace("{python}", minor(PYTHON))
    # A cache of its own, so that the features of the server are asked for.
    given["XDG_CACHE_HOME"] = folder
    assignments = [f"{name}={value}" for name, value in given.items()]
    # Without this folder on its path: it has a module called array.
    command = [str(PYTHON), "-P", str(ROOT / "benchmarks" / "kubernetes_client.py"), json.dumps(much)]
    measured: dict[str, Any] = last_json(["env", *assignments, *command])
    return measured


def _tables(much: dict[str, int], found: dict[str, Any]) -> list[Table]:
    calls = found["call"]
    row, burst, many = much["row"], much["burst"], much["many"]
    shipped = f"shipped with each call: the runner, and {', '.join(found['shipped']) or 'no source'}"

    def rows(key: str, *others: tuple[str, str]) -> list[Row]:
        rounds = found[key]
        labels = ((OURS, "ascend"), *others)
        return [Row(label, [_seconds(each[name]) for each in rounds]) for label, name in labels]

    return [
        Table(
            "one call on Kubernetes, after a warm-up call, at any moment",
            "s",
            [Row(OURS, [each["seconds"] for each in calls]), Row(BARE, found["bare"])],
            notes=[
                "before each a pause of 0 to 1 s: the kubelet looks at its containers once a second",
                shipped,
            ],
        ),
        Table(
            "where the time of one call goes",
            "s",
            [Row(phase, [each[phase] for each in calls if phase in each]) for phase in _PHASES],
            ours="",
        ),
        Table(f"one of {row} calls in a row, each made when the last was answered", "s", rows("row", (BARE, "jobs"))),
        Table(f"{burst} calls at once", "s", rows("burst", (BARE, "jobs"))),
        Table(f"map of {many} calls", "s", rows("many", (BARE, "jobs"), (INDEXED, "indexes"))),
        Table(
            "from the constructor to the first result on Kubernetes",
            "s",
            [Row(OURS, found["first"]), Row(BARE, found["bare"])],
        ),
        Table(
            "what a call takes of the client",
            "ms of a processor",
            [
                Row("one call", [1000 * each["cpu"] for each in calls]),
                Row(f"one of {burst} at once", [1000 * each["ascend"]["cpu"] / burst for each in found["burst"]]),
                Row(f"one of a map of {many}", [1000 * each["ascend"]["cpu"] / many for each in found["many"]]),
            ],
            ours="",
        ),
        Table(
            "memory of the client",
            "MB resident",
            [Row(when, [size / 1e6]) for when, size in found["resident"].items()],
            ours="",
        ),
    ]


def _requests(found: dict[str, Any], audit: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield what the audit log says that each call asked for."""
    titles = {"call": "requests to the API server, a call", "many": "requests to the API server, a call of the map"}
    for name, title in titles.items():
        span = found["spans"][name]
        counts = Counter(
            f"{event['verb']} {event['objectRef']['resource']}{'/log' if 'subresource' in event['objectRef'] else ''}"
            for event in audit
            if event["userAgent"].startswith("ascend") and span["begin"] <= _moment(event) <= span["end"]
        )
        rows = [Row(request, [count / span["calls"]]) for request, count in sorted(counts.items())]
        yield Table(title, "requests", rows, ours="")


def _moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def _seconds(measured: Any) -> float:
    return float(measured["seconds"] if isinstance(measured, dict) else measured)
