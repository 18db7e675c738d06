"""A cluster that has one namespace for builds: it keeps one Job, and tells those who watch of it and of its pods."""

from __future__ import annotations

import copy
import json
import threading
from queue import Queue

from ascend._builtin.kubernetes.connection import Connection
from tests.unit.kubernetes_doubles import PLACE, refusal
from tests.unit.kubernetes_objects import pod


class BuildCluster:
    """A connection that many clients share; only the Job of builds is kept as an API server would."""

    place = PLACE
    namespace = PLACE.namespace
    path = Connection.path

    def __init__(self):
        self.jobs, self.pods = {}, {}
        self.deleted = []
        self._made = 0
        self._events, self._streams = [], []
        self._guard = threading.RLock()

    def create(self, path, body, **_):
        if not path.endswith("/jobs"):
            return body
        with self._guard:
            name = body["metadata"]["name"]
            if name in self.jobs:
                raise refusal(409, "AlreadyExists")
            self._made += 1
            self.jobs[name] = copy.deepcopy(body)
            self.jobs[name]["metadata"]["uid"] = f"u-{self._made}"
            return self._changed("ADDED", name)

    def get(self, path):
        with self._guard:
            return copy.deepcopy(self.jobs[self._known(path)])

    def patch(self, path, body, _=None):
        with self._guard:
            name = self._known(path)
            meta = dict(body.get("metadata", {}))
            job = self.jobs[name]
            if meta.get("uid", job["metadata"]["uid"]) != job["metadata"]["uid"]:
                raise refusal(422, "Invalid", "metadata.uid: field is immutable")
            notes = {**job["metadata"]["annotations"], **meta.get("annotations", {})}
            job["metadata"]["annotations"] = {key: value for key, value in notes.items() if value is not None}
            job["spec"] |= body.get("spec", {})
            return self._changed("MODIFIED", name)

    def exchange(self, method, path, body):
        assert method == "DELETE"
        with self._guard:
            name = self._known(path)
            meta = self.jobs[name]["metadata"]
            if any(meta[key] != value for key, value in body["preconditions"].items()):
                raise refusal(409, "Conflict")
            self._tell("DELETED", "jobs", self.jobs.pop(name))
            self.deleted.append(meta["uid"])

    def items(self, path, **_):
        with self._guard:
            kind = path.rpartition("/")[2]
            found = {"jobs": self.jobs, "pods": self.pods}.get(kind, {}).values()
            return copy.deepcopy(list(found)), str(len(self._events))

    def watch(self, path, *, resourceVersion, **_):  # noqa: N803 - as the API server calls it
        with self._guard:
            stream = Told(path.rpartition("/")[2])
            self._streams.append(stream)
            for event in self._events[int(resourceVersion) :]:
                stream.take(*event)
            return stream

    def log(self, *_, **__):
        raise refusal(404, "NotFound", "there is no log")

    def set_pod(self, state, **status):
        """Tell of another pod of the Job that is there."""
        with self._guard:
            ((name, job),) = self.jobs.items()
            self._made += 1
            made = pod(f"{name}-0-{self._made}", state, job=name, **status)
            made["metadata"]["ownerReferences"] = [{"uid": job["metadata"]["uid"], "controller": True}]
            self.pods = {made["metadata"]["name"]: made}
            self._tell("ADDED", "pods", made)

    def job(self):
        """Return the Job that is there; `None` if there is none."""
        with self._guard:
            return copy.deepcopy(next(iter(self.jobs.values()), None))

    def _known(self, path):
        name = path.rpartition("/")[2]
        if name not in self.jobs:
            raise refusal(404, "NotFound")
        return name

    def _changed(self, kind, name):
        self._made += 1
        self.jobs[name]["metadata"]["resourceVersion"] = str(self._made)
        self._tell(kind, "jobs", self.jobs[name])
        return copy.deepcopy(self.jobs[name])

    def _tell(self, kind, resource, item):
        event = (resource, json.dumps({"type": kind, "object": item}).encode())
        self._events.append(event)
        for stream in self._streams:
            stream.take(*event)


class Told:
    """A watch: lines as they come, until it is closed."""

    def __init__(self, resource):
        self._resource = resource
        self._lines = Queue()

    def take(self, resource, line):
        if resource == self._resource:
            self._lines.put(line)

    def __iter__(self):
        return iter(self._lines.get, None)

    def close(self):
        self._lines.put(None)
