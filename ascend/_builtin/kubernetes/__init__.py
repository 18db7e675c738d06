"""Cluster ``kubernetes``: Jobs on a real API server.

::

    create_job ──POST──> API server ──> Job controller ──> scheduler ──> kubelet: the pod
                            │
      pods, Jobs: one watch each ──> Tracker ──> queue ──> Cluster.watch
                            │           │ running, ended
                            └── log ──> PodLog: lines, before the last status
"""
