"""The standard library's tests that are not run on Kubernetes, though `local` passes them, and why."""

ON_KUBERNETES = {
    "executor.test_map_timeout": "expects answers of two of three calls within 5 s, in which a busy node starts no pod",
    "process.test_ressources_gced_in_workers": "waits 1 s for an event that the task sets through a file of the client",
    "process.test_traceback": "its class needs test.support, which images of Python leave out",
    "shutdown.test_cancel_futures": "expects that calls have ended before shutdown is called a moment later",
    "shutdown.test_hang_gh83386": "expects what the task prints in the standard output of the client",
    "shutdown.test_interpreter_shutdown": "expects what the task prints in the standard output of the client",
}
