"""Makes calls on a Kubernetes cluster beside bare Jobs, and prints what it measured; run as a program of its own.

As a program with nothing but ascend installed, since whatever else a client has from folders travels with its calls.
It is told in JSON how much to measure.
"""

from __future__ import annotations

import base64
import json
import os
import random
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import urllib3

from ascend import AscendExecutor

# The kubelet looks at its containers once a second: a pod that is always created at the same moment after the last one
# ended would always wait equally long for that look.
_PHASE = 1.0
_CALM = 3.0
_LABEL = "bench.ascend.dev/bare"
_PATIENCE = 300.0


class BareJobs:
    """Jobs that run ``python -c pass``, created and watched without anything of ascend."""

    def __init__(self) -> None:
        config = json.loads(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
        cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server = cluster["server"]
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "bare"}
        self._http = urllib3.PoolManager(ssl_context=ssl.create_default_context(cadata=authority), maxsize=4)
        self._numbers = iter(range(10**9))
        self._ended: dict[str, list[float]] = {}
        self._changed = threading.Condition()
        version = json.loads(self._get("pods", limit=1).data)["metadata"]["resourceVersion"]
        threading.Thread(target=self._watch, args=(version,), daemon=True).start()

    def run(self, jobs: int, pods: int = 1) -> float:
        """Return the seconds from the first POST to the end of the last container."""
        bodies = [self._job(f"bare-{next(self._numbers)}", pods) for _ in range(jobs)]
        names = [body["metadata"]["name"] for body in bodies]
        start = time.perf_counter()
        for body in bodies:
            answer = self._http.request("POST", self._path("jobs"), body=json.dumps(body), headers=self._headers)
            if answer.status != 201:
                sys.exit(f"a bare Job was refused: {answer.data.decode()}")
        with self._changed:
            if not self._changed.wait_for(lambda: all(len(self._ended.get(n, ())) == pods for n in names), _PATIENCE):
                sys.exit("the bare Jobs did not end")
        return max(moment for name in names for moment in self._ended[name]) - start

    def in_a_row(self, jobs: int) -> float:
        """Return the seconds a Job takes of several, each created as soon as the container before it has ended."""
        self.run(1)
        start = time.perf_counter()
        for _ in range(jobs):
            self.run(1)
        return (time.perf_counter() - start) / jobs

    def _job(self, name: str, pods: int) -> dict[str, Any]:
        container = {
            "name": "main",
            "image": os.environ["BENCH_IMAGE"],
            "command": ["python", "-c", "pass"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        template = {"metadata": {"labels": {_LABEL: name}}, "spec": pod}
        spec = {"completions": pods, "parallelism": pods, "completionMode": "Indexed", "backoffLimit": 0}
        meta = {"name": name, "labels": {_LABEL: name}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {**spec, "template": template}}

    def _path(self, kind: str) -> str:
        api = "apis/batch/v1" if kind == "jobs" else "api/v1"
        return f"{self._server}/{api}/namespaces/{os.environ['ASCEND_NAMESPACE']}/{kind}"

    def _get(self, kind: str, *, preload: bool = True, **query: object) -> Any:
        fields = {name: str(value) for name, value in query.items()}
        return self._http.request(
            "GET", self._path(kind), fields=fields, headers=self._headers, preload_content=preload, timeout=None
        )

    def _watch(self, version: str) -> None:
        stream = self._get("pods", preload=False, watch="true", labelSelector=_LABEL, resourceVersion=version)
        rest, seen = b"", set()
        while chunk := stream.read1(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                pod = json.loads(line)["object"]
                states = [each["state"] for each in pod.get("status", {}).get("containerStatuses", ())]
                if any("terminated" in state for state in states) and pod["metadata"]["uid"] not in seen:
                    seen.add(pod["metadata"]["uid"])
                    with self._changed:
                        moments = self._ended.setdefault(pod["metadata"]["labels"][_LABEL], [])
                        moments.append(time.perf_counter())
                        self._changed.notify_all()


class Calls:
    """Calls of one executor, with the processor time that they take here."""

    def __init__(self, executor: AscendExecutor) -> None:
        self._executor = executor
        self._numbers = iter(range(10**9))
        self.timelines: list[str] = []

    def one(self) -> dict[str, float]:
        number = next(self._numbers)
        before, start = time.process_time(), time.perf_counter()
        future = self._executor.submit(abs, -number)
        value = future.result()
        seconds = time.perf_counter() - start
        _check([value], [number])
        phases = {phase.name: phase.seconds for phase in future.timeline.phases}
        return {"seconds": seconds, "cpu": time.process_time() - before, **phases}

    def in_a_row(self, count: int) -> float:
        """Return the seconds a call takes of several, each made as soon as the one before it was answered."""
        self.one()
        return sum(self.one()["seconds"] for _ in range(count)) / count

    def submitted(self, count: int) -> dict[str, float]:
        numbers = [next(self._numbers) for _ in range(count)]
        before, start = time.process_time(), time.perf_counter()
        futures = [self._executor.submit(abs, -number) for number in numbers]
        values = [future.result() for future in futures]
        seconds = time.perf_counter() - start
        _check(values, numbers)
        return {"seconds": seconds, "cpu": time.process_time() - before}

    def mapped(self, count: int) -> dict[str, float]:
        numbers = [next(self._numbers) for _ in range(count)]
        before, start = time.process_time(), time.perf_counter()
        values = list(self._executor.map(abs, [-number for number in numbers]))
        seconds = time.perf_counter() - start
        _check(values, numbers)
        return {"seconds": seconds, "cpu": time.process_time() - before}


def measure(much: dict[str, int]) -> dict[str, Any]:
    """Measure everything; each round lets the contestants begin in another order."""
    pairs, row, burst, many = much["pairs"], much["row"], much["burst"], much["many"]
    bare = BareJobs()
    bare.run(1)
    resident = _resident()
    found: dict[str, Any] = {"spans": {}, "bare": [], "call": [], "row": [], "burst": [], "many": [], "first": []}
    for _ in range(max(2, pairs // 4)):
        time.sleep(random.uniform(0, _PHASE))
        found["first"].append(_first())
    with _executor() as executor:
        calls = Calls(executor)
        calls.one()
        found["shipped"] = [file.path for file in executor._run.dispatcher.source.current().files]
        with _span(found, "call", pairs):
            for number in range(pairs):
                for which in _turn(("bare", "call"), number):
                    time.sleep(random.uniform(0, _PHASE))
                    found[which].append(bare.run(1) if which == "bare" else calls.one())
        for number in range(much["rows"]):
            contestants = {"ascend": lambda: calls.in_a_row(row), "jobs": lambda: bare.in_a_row(row)}
            found["row"].append(_round(number, **contestants))
        for number in range(much["bursts"]):
            found["burst"].append(_round(number, ascend=lambda: calls.submitted(burst), jobs=lambda: bare.run(burst)))
        with _span(found, "many", many * much["manys"]):
            for number in range(much["manys"]):
                contestants = {"ascend": lambda: calls.mapped(many), "jobs": lambda: bare.run(many)}
                found["many"].append(_round(number, **contestants, indexes=lambda: bare.run(1, many)))
        found["resident"] = {"before": resident, "after": _resident()}
    return found


def _executor() -> AscendExecutor:
    return AscendExecutor(cluster="kubernetes", progress=False)


def _first() -> float:
    start = time.perf_counter()
    executor = _executor()
    value = executor.submit(abs, -1).result()
    seconds = time.perf_counter() - start
    executor.shutdown()
    _check([value], [1])
    return seconds


def _round(number: int, **contestants: Any) -> dict[str, Any]:
    found = {}
    for name in _turn(tuple(contestants), number):
        time.sleep(_CALM + random.uniform(0, _PHASE))
        found[name] = contestants[name]()
    return found


def _turn(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    at = number % len(names)
    return names[at:] + names[:at]


class _span:  # noqa: N801 - reads as a function
    """Notes between which times the audit log has the requests of *count* calls."""

    def __init__(self, found: dict[str, Any], name: str, count: int) -> None:
        self._note = found["spans"]
        self._name, self._count = name, count

    def __enter__(self) -> None:
        self._begin = time.time()

    def __exit__(self, *_: object) -> None:
        self._note[self._name] = {"begin": self._begin, "end": time.time(), "calls": self._count}


def _check(values: list[int], expected: list[int]) -> None:
    if values != expected:
        sys.exit("a call returned a wrong value")


def _resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
