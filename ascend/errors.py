"""Every error that ascend raises; an exception of the user's own function is none of these.

::

    AscendError
    ├── ConfigError                 a setting is missing, misspelt or contradictory
    ├── PluginError                 a plugin does not load, or breaks the rules of its hook
    │   └── NoPluginError           no installed plugin serves what was asked for
    ├── EnvironmentBuildError       the requirements could not be installed
    │   └── ImageBuildError         a build in the cluster failed
    │       ├── BuildOutOfMemoryError   it was killed for its use of memory
    │       ├── BuildStartError         its pod never ran             (also a ClusterError)
    │       └── BuildTimeoutError       it took too long              (also a TimeoutError)
    ├── SerializationError          a call cannot be pickled          (also a pickle.PicklingError)
    ├── SourceError                 the project's source cannot be shipped
    ├── RegistryError               a registry of images refused or failed
    │   ├── ImageNotFoundError          it has no such image
    │   ├── RegistryDeniedError         you may not do that there, or it does not know you
    │   │   └── RegistryReadOnlyError       nobody may write to it now
    │   ├── RegistryFullError           it has no room, or your quota there is used up
    │   └── RegistryUnreachableError    it does not answer
    ├── StorageError                the storage refused or failed
    │   └── KeyNotFoundError        nothing is stored under that key
    ├── ClusterError                the cluster refused or failed
    │   ├── ClusterUnreachableError     its API server does not answer
    │   ├── NamespaceNotFoundError      the namespace does not exist
    │   └── PermissionDeniedError       you may not do that there
    └── TaskError                   a task ended without an answer    (also a BrokenExecutor)
        ├── CallLoadError           the call could not be read where it ran
        │   └── VersionMismatchError    other Python there than here
        ├── InitializerError        the executor's initializer raised
        ├── OutcomeLoadError        the answer could not be read here
        ├── RemoteExecutionError    the function's exception could not travel; its text did
        ├── TaskCrashedError        the process died: exit code or signal
        │   └── OutOfMemoryError    it was killed for its use of memory
        ├── TaskStartError          its pod never ran                 (also a ClusterError)
        │   ├── ContainerConfigError    what its container refers to is missing, such as a Secret
        │   ├── ImagePullError          its image is not there, or may not be pulled
        │   ├── JobRefusedError         an admission rule refused the Job or its pod
        │   ├── QueueTimeoutError       it waited longer than queue_timeout   (also a TimeoutError)
        │   │   └── UnschedulableError      no node had room for it, or none may have it
        │   └── QuotaExceededError      it needs more than the namespace's quota allows
        ├── TaskDisruptedError      its pods were preempted, drained or evicted
        ├── TaskTimeoutError        it ran past its timeout           (also a TimeoutError)
        ├── TaskKilledError         somebody here stopped it
        └── TaskLostError           the cluster no longer knows it
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError

__all__ = [
    "AscendError",
    "BuildOutOfMemoryError",
    "BuildStartError",
    "BuildTimeoutError",
    "CallLoadError",
    "ClusterError",
    "ClusterUnreachableError",
    "ConfigError",
    "ContainerConfigError",
    "EnvironmentBuildError",
    "ImageBuildError",
    "ImageNotFoundError",
    "ImagePullError",
    "InitializerError",
    "JobRefusedError",
    "KeyNotFoundError",
    "NamespaceNotFoundError",
    "NoPluginError",
    "OutOfMemoryError",
    "OutcomeLoadError",
    "PermissionDeniedError",
    "PluginError",
    "QueueTimeoutError",
    "QuotaExceededError",
    "RegistryDeniedError",
    "RegistryError",
    "RegistryFullError",
    "RegistryReadOnlyError",
    "RegistryUnreachableError",
    "RemoteExecutionError",
    "SerializationError",
    "SourceError",
    "StorageError",
    "TaskCrashedError",
    "TaskDisruptedError",
    "TaskError",
    "TaskKilledError",
    "TaskLostError",
    "TaskStartError",
    "TaskTimeoutError",
    "UnschedulableError",
    "VersionMismatchError",
]


class AscendError(Exception):
    """Base of every error that ascend raises itself."""


class ConfigError(AscendError):
    """A setting is missing, misspelt or contradictory; the message names its file and line."""


class PluginError(AscendError):
    """A plugin does not load, or does not keep to the signature of a hook."""


class NoPluginError(PluginError):
    """No installed plugin serves the cluster, storage, builder or serializer that was asked for."""


class EnvironmentBuildError(AscendError):
    """The requirements could not be resolved or installed; the message ends with the resolver's words."""


class ImageBuildError(EnvironmentBuildError):
    """The build of an image failed; the message has all that the attributes hold.

    *step* is what failed, such as a line of the Dockerfile, *lines* are the last lines of the build's log, and
    *dockerfile* is what was built, or empty for a builder that needs none.
    """

    def __init__(self, message: str, *, step: str = "", lines: tuple[str, ...] = (), dockerfile: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.lines = lines
        self.dockerfile = dockerfile


class SerializationError(AscendError, PicklingError):
    """A call cannot be pickled; the message names the attribute path of the culprit.

    The pickler's own exception is the ``__cause__``.
    """


class SourceError(AscendError):
    """The project's source cannot be shipped: a file is unreadable, or all of it is too large."""


class RegistryError(AscendError):
    """A registry of images refused or failed; the message names it and the repository, and ends with its words."""


class ImageNotFoundError(RegistryError):
    """The registry has no such image, or no such repository; some say so too of what one may not see."""


class RegistryDeniedError(RegistryError):
    """The registry does not know you, or does not allow what is needed: to pull, to push or to delete."""


class RegistryReadOnlyError(RegistryDeniedError):
    """The registry takes nothing from anybody, as while it is being cleaned or moved."""


class RegistryFullError(RegistryError):
    """The registry has no room for the image, or a quota there is used up."""


class RegistryUnreachableError(RegistryError):
    """The registry does not answer, or its certificate is not trusted, or it speaks HTTP where TLS is expected."""


class StorageError(AscendError):
    """The storage refused or failed; the message names the URL and the key."""


class KeyNotFoundError(StorageError):
    """Nothing is stored under the key."""


class ClusterError(AscendError):
    """The cluster refused a Job or cannot be reached."""


class ClusterUnreachableError(ClusterError):
    """The API server of the cluster does not answer, or not as one."""


class NamespaceNotFoundError(ClusterError):
    """The namespace that Jobs are to be created in does not exist."""


class PermissionDeniedError(ClusterError):
    """The cluster does not know you, or does not allow what is needed; the message ends with its words."""


class BuildOutOfMemoryError(ImageBuildError):
    """The build of an image was killed because it used more memory than it was given."""


class BuildStartError(ImageBuildError, ClusterError):
    """The pod of a build never ran; the message has the cluster's words, and what to do."""


class BuildTimeoutError(ImageBuildError, TimeoutError):
    """The build of an image ran longer than it may."""


class TaskError(AscendError, BrokenExecutor):
    """A task ended without an answer of its function.

    *task_id* names the task. It breaks its own future only, never the executor: the base class
    `concurrent.futures.BrokenExecutor` is there for code that expects what the standard executors raise.
    """

    def __init__(self, message: str, *, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class CallLoadError(TaskError):
    """The call could not be read where it ran: unpickling raised, or the digest did not fit."""


class VersionMismatchError(CallLoadError):
    """The Python that was to run the call has another minor version than the one that pickled it."""


class InitializerError(TaskError):
    """The executor's initializer raised; as with the standard executors, the executor takes no more calls."""


class OutcomeLoadError(TaskError):
    """The answer arrived and could not be unpickled here, or its digest did not fit."""


class RemoteExecutionError(TaskError):
    """The function raised an exception that cannot be pickled there or unpickled here.

    *remote_type* is the dotted path of its class, *remote_message* its text and
    *remote_traceback* the formatted traceback.
    """

    def __init__(
        self,
        message: str,
        *,
        task_id: str = "",
        remote_type: str = "",
        remote_message: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message, task_id=task_id)
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback


class TaskCrashedError(TaskError):
    """The process of the task died before it answered.

    *exit_code* is what it exited with, or `None` if a signal ended it; *signal* is that signal's name,
    or `None`; *last_lines* are the last lines of its output.
    """

    def __init__(
        self,
        message: str,
        *,
        task_id: str = "",
        exit_code: int | None = None,
        signal: str | None = None,
        last_lines: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, task_id=task_id)
        self.exit_code = exit_code
        self.signal = signal
        self.last_lines = last_lines


class OutOfMemoryError(TaskCrashedError):
    """The task was killed because it used more memory than it was given."""


class TaskStartError(TaskError, ClusterError):
    """The pod of a task never ran; the message has the cluster's words, and what to do."""


class ContainerConfigError(TaskStartError):
    """Something that the container refers to is missing: a Secret, one of its keys, a volume claim, its `python`."""


class ImagePullError(TaskStartError):
    """The image is not in its registry, or the cluster may not pull it."""


class JobRefusedError(TaskStartError):
    """The API server or an admission rule - PodSecurity, a policy, a webhook - refused the Job or its pod."""


class QueueTimeoutError(TaskStartError, TimeoutError):
    """The task waited longer than its *queue_timeout* for its pod to run; the message says what for."""


class UnschedulableError(QueueTimeoutError):
    """No node had room for the pod in that time, or none may have it; the message has the scheduler's words."""


class QuotaExceededError(TaskStartError):
    """The task alone needs more than a ResourceQuota of the namespace allows, so waiting cannot help."""


class TaskDisruptedError(TaskError):
    """Pods of the task were preempted, drained or evicted, and no further attempt is made."""


class TaskTimeoutError(TaskError, TimeoutError):
    """The function ran longer than its *timeout*; it was stopped."""


class TaskKilledError(TaskError):
    """The task was stopped from here: by `AscendFuture.kill`, Ctrl-C or the end of the executor."""


class TaskLostError(TaskError):
    """The cluster no longer knows the task, and no answer was stored."""
