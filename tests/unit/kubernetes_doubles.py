"""Doubles of a connection to an API server."""

from __future__ import annotations

from ascend._builtin.kubernetes.connection import Connection, Place
from ascend._builtin.kubernetes.failures import ApiError

PLACE = Place("lab", "https://api.example:6443", "crystals")


def refusal(status, reason="", message="", details=None):
    """Return the error of a Status object."""
    error = ApiError(status, reason, message, PLACE)
    error.details = details or {}
    return error


class ScriptedConnection:
    """Gives or raises the *answers* one after the other; keeps the *requests*."""

    place = PLACE
    namespace = PLACE.namespace
    path = Connection.path

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def get(self, path, **query):
        return self._next("GET", path, query)

    def create(self, path, body, **query):
        return self._next("POST", path, body, query)

    def patch(self, path, body, kind="application/merge-patch+json"):
        return self._next("PATCH", path, body, kind)

    def delete(self, path):
        return self._next("DELETE", path)

    def _next(self, *request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
