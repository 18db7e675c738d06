"""From events to statuses: one running an attempt, output in between, one last status, in whatever order they come."""

from __future__ import annotations

import random
import threading

import pytest

from ascend._builtin.kubernetes.diagnosis import Diagnosis
from ascend._builtin.kubernetes.tracker import Tracker
from ascend.model import JobOutput
from tests.unit.kubernetes_objects import (
    JOB,
    condition,
    deleted,
    disruption,
    init_containers,
    job,
    pod,
    running,
    terminated,
    unschedulable,
    waiting,
)

NAMES = [f"{JOB}-0-{letter * 5}" for letter in "abcdefgh"]


class ScriptedLog:
    """A log with one line while its pod runs and one when it has ended."""

    def __init__(self, world, pod_name, emit, container):
        self._world, self._pod, self._emit = world, pod_name, emit
        self.container = container
        self._told = []
        self.closed = False

    def follow(self):
        self._tell("early")

    def finish(self):
        self._tell("early")
        self._tell("late")
        return self._world.problem

    def close(self):
        self.closed = True

    def _tell(self, line):
        if line not in self._told:
            self._told.append(line)
            self._emit((f"{self._pod} {line}",))


class World:
    """A tracker, the clock, and all that it calls."""

    def __init__(self, *, threads="at once", retries=0, timeout="inf", codes=(64,)):
        self.now = 1000.0
        self.events, self.stopped, self.logs = [], [], []
        self.problem = None
        self.later = []
        self.threads = []
        self._how = threads
        self.tracker = Tracker(
            self.events.append,
            new_log=self._new_log,
            in_thread=self._in_thread,
            stop=self._stop,
            clock=lambda: self.now,
        )
        rules = [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": list(codes)}},
        ]
        spec = {"backoffLimitPerIndex": retries, "podFailurePolicy": {"rules": rules}}
        annotations = {"ascend.dev/queue-timeout": timeout}
        self.tracker.expect({"metadata": {"name": JOB, "annotations": annotations}, "spec": spec})

    stop_tells = False

    def _stop(self, job_name):
        self.stopped.append(job_name)
        if self.stop_tells:
            # The watch may be faster than whoever asked for the deletion.
            self.tracker.observe_job("DELETED", job())

    def _new_log(self, pod_name, emit, container):
        self.logs.append(ScriptedLog(self, pod_name, emit, container))
        return self.logs[-1]

    def _in_thread(self, call, *args):
        if self._how == "none":
            msg = "can't start new thread"
            raise RuntimeError(msg)
        if self._how == "at once":
            call(*args)
        elif self._how == "later":
            self.later.append((call, args))
        else:
            thread = threading.Thread(target=call, args=args)
            self.threads.append(thread)
            thread.start()

    def pod(self, name=NAMES[0], state=None, kind="MODIFIED", **status):
        self.tracker.observe_pod(kind, pod(name, state, **status))
        return self

    def job(self, *conditions, kind="MODIFIED", **meta):
        self.tracker.observe_job(kind, job(conditions=conditions, **meta))
        return self

    def look(self, seconds=0.0, refusals=None):
        self.now += seconds
        self.tracker.look({} if refusals is None else {JOB: refusals})
        return self

    def run_later(self):
        while self.later:
            call, args = self.later.pop(0)
            call(*args)

    @property
    def statuses(self):
        return [each for each in self.events if not isinstance(each, JobOutput)]

    @property
    def told(self):
        """Return what was told, in short."""
        return [
            each.lines[0].rpartition(" ")[2]
            if isinstance(each, JobOutput)
            else f"{each.phase} {each.attempt}{'' if each.final else ' and again'}"
            for each in self.events
        ]

    @property
    def last(self):
        return self.statuses[-1]


FAILED = condition("Failed", "True", "FailedIndexes", "Job has failed indexes")
COMPLETE = condition("Complete", "True", "CompletionsReached")
LATE = condition("Failed", "True", "DeadlineExceeded", "Job was active longer than specified deadline")


# One attempt.


def test_a_task_that_runs_and_succeeds():
    world = World().pod().pod(state=waiting()).pod(state=running(), phase="Running")
    world.pod(state=terminated(0, message="receipt")).pod(state=terminated(0), phase="Succeeded").job(COMPLETE)

    assert world.told == ["running 1", "early", "late", "succeeded 1"]
    assert (world.last.exit_code, world.last.receipt, world.last.final) == (0, b"receipt", True)
    assert world.tracker.unfinished() == []
    assert world.stopped == []


def test_a_task_of_which_only_the_end_was_seen_has_run():
    assert World().pod(state=terminated(0)).told == ["running 1", "early", "late", "succeeded 1"]


def test_an_init_container_that_fails_tells_its_own_log_and_end():
    world = World().pod(state=waiting("PodInitializing"), initContainerStatuses=init_containers(fetch=running()))
    failed = init_containers(fetch=terminated(1))
    world.pod(state=waiting("PodInitializing"), phase="Failed", initContainerStatuses=failed)

    assert world.told == ["running 1", "early", "late", "failed 1"]
    assert [log.container for log in world.logs] == ["fetch"]
    assert (world.last.exit_code, world.last.message) == (1, "its init container 'fetch' failed")


def test_a_task_whose_pod_never_ran_has_no_output():
    world = World().pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")

    assert world.told == ["failed 1"]
    assert (world.last.exit_code, world.last.reason) == (None, "Evicted")
    assert "low on resource" in world.last.message


@pytest.mark.parametrize(
    ("item", "reason", "signal"),
    [
        (pod(NAMES[0], terminated(137, "OOMKilled"), phase="Failed"), "OOMKilled", "SIGKILL"),
        (pod(NAMES[0], terminated(139), phase="Failed"), "", "SIGSEGV"),
        (deleted(pod(NAMES[0], terminated(143))), "PodDeleted", "SIGTERM"),
        (pod(NAMES[0], terminated(3), phase="Failed"), "", None),
    ],
)
def test_a_task_that_fails_says_how(item, reason, signal):
    world = World()
    world.tracker.observe_pod("MODIFIED", item)

    assert (world.last.phase, world.last.reason, world.last.signal, world.last.final) == (
        "failed",
        reason,
        signal,
        True,
    )


@pytest.mark.parametrize("state", [waiting(), running()])
def test_a_pod_that_vanishes_is_an_end(state):
    world = World().pod(state=state).pod(state=state, kind="DELETED")

    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", "Lost", True)


def test_an_output_that_could_not_be_read_says_so_before_the_end():
    world = World()
    world.problem = "pods not found"

    world.pod(state=terminated(0))

    assert world.events[-2].lines == ("ascend: the rest of the output could not be read: pods not found",)
    assert world.last.phase == "succeeded"


def test_without_threads_the_output_comes_at_the_end():
    world = World(threads="none").pod(state=running()).pod(state=terminated(0))

    assert world.told == ["running 1", "early", "late", "succeeded 1"]


def test_nothing_is_told_of_jobs_of_others():
    world = World()
    world.tracker.observe_pod("ADDED", pod(job="other", state=terminated(0)))
    world.tracker.observe_job("DELETED", job("other"))
    world.tracker.forget("other")

    assert world.events == []


def test_nothing_is_told_of_a_job_that_was_refused():
    world = World()
    world.tracker.forget(JOB)

    assert world.pod(state=terminated(0)).look(10**6).events == []


# Attempts.


def test_an_attempt_that_fails_is_followed_by_the_next():
    world = World(retries=1).pod(NAMES[0], running()).pod(NAMES[0], terminated(1), phase="Failed")
    assert world.told == ["running 1", "early", "late", "failed 1 and again"]

    world.pod(NAMES[1], running(), failures=1).pod(NAMES[1], terminated(1), failures=1)

    assert world.told[4:] == ["running 2", "early", "late", "failed 2"]


def test_an_exit_code_that_no_attempt_mends_is_the_last():
    assert World(retries=3).pod(state=terminated(64)).told[-1] == "failed 1"


def test_a_disrupted_attempt_does_not_count():
    world = World().pod(NAMES[0], running())
    world.tracker.observe_pod("MODIFIED", deleted(pod(NAMES[0], terminated(143), conditions=disruption())))
    assert (world.told[-1], world.last.reason) == ("failed 1 and again", "Disrupted")

    world.pod(NAMES[1], terminated(0))

    assert world.told[-1] == "succeeded 2"


def test_a_task_that_is_disrupted_for_ever_ends():
    world = World()
    for number in range(40):
        world.pod(f"p{number}", terminated(143), conditions=disruption())

    assert [each.final for each in world.statuses if each.phase == "failed"] == [False] * 20 + [True]
    assert (world.last.reason, world.stopped) == ("Disrupted", [JOB])


def test_a_task_that_ran_past_its_deadline_is_not_tried_again():
    world = World(retries=5).pod(state=terminated(143), phase="Failed", reason="DeadlineExceeded")

    assert (world.told[-1], world.last.reason, world.stopped) == ("failed 1", "DeadlineExceeded", [JOB])


def test_attempts_that_overlap_have_each_their_own_output():
    world = World(threads="later", retries=1).pod(NAMES[0], running()).pod(NAMES[1], running(), failures=1)
    world.pod(NAMES[0], running(), kind="DELETED").run_later()
    assert not world.logs[1].closed

    world.pod(NAMES[1], terminated(0), failures=1).run_later()

    lines = [each.lines[0] for each in world.events if isinstance(each, JobOutput)]
    assert sorted(lines) == sorted(f"{name} {when}" for name in NAMES[:2] for when in ("early", "late"))
    assert world.last.phase == "succeeded"


# The Job's own word.


def test_a_job_that_is_deleted_is_an_end_also_before_it_is_gone():
    world = World().job(deletionTimestamp="2026-11-24T09:51:00Z")
    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", "Deleted", True)


def test_a_job_that_is_deleted_while_a_pod_runs_is_an_end_if_the_pod_says_nothing():
    world = World().pod(state=running()).job(kind="DELETED").look(0.5)
    assert world.statuses[-1].phase == "running"

    world.look(1)

    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", "Deleted", True)
    assert all(log.closed for log in world.logs)


def test_who_deletes_a_job_that_has_just_ended_takes_no_end_from_who_follows_it():
    told = World().pod(state=running()).job(kind="DELETED").look(0.5).pod(state=terminated(0))
    telling = World(threads="later").pod(state=running()).pod(state=terminated(0)).job(kind="DELETED").look(5)
    telling.run_later()
    for world in (told, telling):
        assert (world.last.phase, world.last.reason, world.last.final) == ("succeeded", "", True)


def test_what_ends_because_its_job_was_deleted_was_deleted():
    world = World(retries=3).pod(state=running()).job(kind="DELETED").pod(state=terminated(143))
    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", "Deleted", True)


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [([FAILED], "PodDeleted"), ([LATE], "DeadlineExceeded"), ([COMPLETE], "Lost")],
)
def test_a_job_that_ended_without_a_word_of_its_pods_is_an_end_after_a_while(conditions, reason):
    world = World().pod(state=running()).job(*conditions).look(10)
    assert world.statuses[-1].phase == "running"

    world.look(10)

    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", reason, True)


@pytest.mark.parametrize("state", [running(), waiting()])
@pytest.mark.parametrize("grace", [30, 300])
def test_a_pod_that_outlives_its_deletion_is_on_a_node_that_is_lost(state, grace):
    world = World(retries=3)
    item = pod(NAMES[0], state, phase="Running", conditions=disruption("DeletionByTaintManager"))
    world.tracker.observe_pod("MODIFIED", item)
    world.look(1000).tracker.observe_pod("MODIFIED", deleted(item, grace))
    world.look(grace + 30).tracker.observe_pod("MODIFIED", deleted(item, grace))
    world.look(29)
    assert "failed" not in [each.phase for each in world.statuses]

    world.look(2)

    assert (world.last.phase, world.last.reason, world.last.final) == ("failed", "NodeLost", True)
    assert "n1" in world.last.message
    assert world.stopped == [JOB]
    assert all(log.closed for log in world.logs)


def test_a_lost_node_does_not_hide_that_the_job_was_late():
    world = World().pod(state=running()).job(condition("FailureTarget", "True", "DeadlineExceeded"))
    world.tracker.observe_pod("MODIFIED", deleted(pod(NAMES[0], running())))
    assert world.look(91).last.reason == "DeadlineExceeded"


def test_a_pod_that_ends_in_its_grace_has_the_last_word():
    world = World(threads="later")
    world.tracker.observe_pod("MODIFIED", deleted(pod(NAMES[0], running())))
    world.look(80).tracker.observe_pod("MODIFIED", deleted(pod(NAMES[0], terminated(0))))
    world.look(1000).run_later()
    assert (world.last.phase, world.stopped) == ("succeeded", [])


def test_an_attempt_does_not_answer_for_the_one_before():
    world = World(retries=3)
    world.tracker.observe_pod("MODIFIED", deleted(pod(NAMES[0], running())))
    world.look(80).tracker.observe_pod("MODIFIED", deleted(pod(NAMES[1], running())))
    assert world.look(80).last.phase == "running"
    assert world.look(11).last.reason == "NodeLost"


def test_a_word_of_a_pod_is_better_than_that_of_its_job():
    world = World().pod(state=running()).job(COMPLETE).look(10).pod(state=terminated(0)).look(60)

    assert [each.phase for each in world.statuses if each.phase != "running"] == ["succeeded"]


def test_a_long_output_is_waited_for():
    world = World(threads="later").pod(state=running()).pod(state=terminated(0)).job(COMPLETE).look(600)
    assert world.told == ["running 1"]

    world.run_later()

    assert world.told == ["running 1", "early", "late", "succeeded 1"]


def test_a_condition_that_does_not_hold_is_no_end():
    world = World().job(condition("Failed", "False"), condition("Suspended", "True")).look(60)

    assert world.events == []


# Waiting.


def test_what_it_waits_for_is_told_when_it_changes():
    world = World().pod(conditions=unschedulable("0/3 nodes"), node="").look().look(1).look(1)
    world.pod(conditions=unschedulable("0/4 nodes"), node="").look(1)
    world.pod(state=waiting()).look(1).pod(state=running()).look(1)

    assert [(each.phase, each.message) for each in world.statuses] == [
        ("pending", "0/3 nodes"),
        ("pending", "0/4 nodes"),
        ("running", ""),
    ]


def test_who_waits_in_vain_is_given_up_with_the_clusters_words():
    missing = waiting("CreateContainerConfigError", 'secret "tokens" not found')
    world = World().pod(state=missing).look().look(19)
    assert world.told == ["pending 1"]

    world.look(2)

    assert (world.last.phase, world.last.reason) == ("failed", "CreateContainerConfigError")
    assert world.last.message == 'secret "tokens" not found'
    assert world.stopped == [JOB]


def test_a_hopeless_word_after_hopeful_ones_gets_its_own_time():
    world = World().pod(state=waiting("ErrImagePull", "i/o timeout")).look().look(60)
    world.pod(state=waiting("ErrImagePull", "nope:1: not found")).look()
    assert world.last.phase == "pending"

    world.look(16)

    assert (world.last.phase, world.last.message) == ("failed", "nope:1: not found")


def test_a_kubelet_that_backs_off_without_a_word_does_not_hide_the_reason():
    world = World().pod(state=waiting("ErrImagePull", "nope:1: not found")).look()
    world.pod(state=waiting("ImagePullBackOff", 'Back-off pulling image "nope:1"')).look(8).look(8)

    assert (world.last.phase, world.last.reason, world.last.message) == ("failed", "ErrImagePull", "nope:1: not found")


def test_a_hopeless_word_that_was_taken_back_ends_nothing():
    world = World().pod(state=waiting("CreateContainerConfigError", "secret not found")).look().look(10)
    world.pod(state=waiting()).look(60).pod(state=running()).look(60)

    assert [each.phase for each in world.statuses] == ["pending", "running"]


def test_a_refusal_of_its_pod_is_told_and_ends_it():
    refusal = Diagnosis("FailedCreate", "violates PodSecurity", 5.0)
    world = World().look(2, refusal).look(2).look(4, refusal)

    assert [(each.phase, each.reason) for each in world.statuses] == [
        ("pending", "FailedCreate"),
        ("failed", "FailedCreate"),
    ]


@pytest.mark.parametrize(
    ("conditions", "reason"), [([], "QueueTimeout"), (unschedulable("0/3 nodes"), "Unschedulable")]
)
def test_who_waits_for_too_long_is_given_up(conditions, reason):
    world = World(timeout="60").pod(conditions=conditions, node="").look(59)
    assert world.told in ([], ["pending 1"])

    world.look(2)

    assert (world.last.phase, world.last.reason, world.stopped) == ("failed", reason, [JOB])
    assert world.last.message


def test_who_runs_does_not_wait():
    world = World(timeout="60").pod(state=running()).look(10**6)

    assert world.told == ["running 1", "early"]


def test_a_later_attempt_that_finds_no_place_is_given_up_too():
    world = World(timeout="60", retries=1).pod(NAMES[0], running()).look(600).pod(NAMES[0], terminated(1)).look(59)
    world.pod(NAMES[1], conditions=unschedulable("0/3 nodes"), node="", failures=1).look()
    assert world.told[-1] == "pending 2"

    world.look(2)

    assert (world.last.phase, world.last.reason, world.last.attempt) == ("failed", "Unschedulable", 2)


def test_only_who_has_no_pod_for_a_while_is_asked_about():
    world = World()
    assert world.tracker.without_pod() == []
    world.now += 2
    assert world.tracker.without_pod() == [JOB]

    assert world.pod().tracker.without_pod() == []


def test_the_pods_of_a_job_that_has_ended_without_them_are_asked_for_once():
    world = World().pod(state=running()).job(COMPLETE)
    assert world.tracker.overdue() == []
    world.now += 6
    assert world.tracker.overdue() == [JOB]
    assert world.tracker.overdue() == []

    world.pod(state=terminated(0))

    assert world.last.phase == "succeeded"


def test_who_is_given_up_has_its_last_word_before_its_job_is_stopped():
    world = World(timeout="5").pod(conditions=unschedulable("0/3 nodes"), node="")
    world.stop_tells = True
    world.look(10)

    assert (world.last.reason, world.stopped) == ("Unschedulable", [JOB])


def test_a_pod_that_another_job_has_made_answers_for_nobody():
    world = World()
    world.tracker.created(JOB, "u-mine")

    world.pod(state=terminated(0))

    assert world.told == []


def test_a_job_that_has_passed_its_own_deadline_is_late_and_not_deleted():
    late = condition("FailureTarget", reason="DeadlineExceeded")
    world = World().pod(state=running()).job(late)

    world.tracker.observe_pod("MODIFIED", deleted(pod(state=terminated(143))))

    assert world.last.reason == "DeadlineExceeded"


def test_all_that_is_left_can_be_given_up():
    world = World().pod(state=running())

    world.tracker.give_up("Deleted")
    world.tracker.give_up("Deleted")

    assert (world.told[-1], world.last.reason) == ("failed 1", "Deleted")
    assert all(log.closed for log in world.logs)


# Whatever the order.


class History:
    """What happens to a Job, by chance: the events of its pods, and those of its own."""

    def __init__(self, dice):
        self.retries = dice.randint(0, 2)
        self.pods, self.jobs = [], [("ADDED", job()), ("MODIFIED", job())]
        self.expected = "failed"
        failures = 0
        for name in NAMES:
            fate = dice.choice(["succeeds", "fails", "is killed", "is disrupted", "vanishes", "is evicted", "may not"])
            self._attempt(name, fate, failures)
            if fate == "succeeds":
                self.expected = "succeeded"
                break
            failures += fate != "is disrupted"
            if failures > self.retries or fate == "may not":
                break
        self.jobs.append(("MODIFIED", job(conditions=[COMPLETE if self.expected == "succeeded" else FAILED])))

    def _attempt(self, name, fate, failures):
        ends = {
            "succeeds": pod(name, terminated(0), phase="Succeeded", failures=failures),
            "fails": pod(name, terminated(1), phase="Failed", failures=failures),
            "is killed": pod(name, terminated(137, "OOMKilled"), phase="Failed", failures=failures),
            "is disrupted": deleted(pod(name, terminated(143), conditions=disruption(), failures=failures)),
            "is evicted": pod(name, phase="Failed", reason="Evicted", failures=failures),
            "may not": pod(name, terminated(64), phase="Failed", failures=failures),
        }
        story = [("ADDED", pod(name, node="", conditions=unschedulable("0/3 nodes"), failures=failures))]
        story.append(("MODIFIED", pod(name, waiting(), failures=failures)))
        if fate != "is evicted":
            story.append(("MODIFIED", pod(name, running(), phase="Running", failures=failures)))
        if fate == "vanishes":
            story.append(("DELETED", pod(name, running(), phase="Running", failures=failures)))
        else:
            story.append(("MODIFIED", ends[fate]))
        self.pods.append(story)

    def seen(self, dice):
        """Return the events of the pods as a watch with gaps and lists tells them."""
        for story in self.pods:
            start = dice.choice([0, 0, len(story) - 1, dice.randrange(len(story))])
            for kind, item in story[start:]:
                for _ in range(dice.choice([1, 1, 2])):
                    yield kind, item
        # The pods go with their Job, or are listed once more.
        for story in self.pods:
            if dice.random() < 0.3 and story[-1][0] != "DELETED":
                yield dice.choice(["DELETED", "ADDED"]), story[-1][1]


def check(events, expected):
    """Hold the events of one Job against what is promised of them."""
    statuses = [each for each in events if not isinstance(each, JobOutput)]
    finals = [each for each in statuses if each.phase in {"succeeded", "failed"} and each.final]
    assert len(finals) == 1
    assert events[-1] is finals[0]
    if expected:
        assert finals[0].phase == expected
    ran = [each.attempt for each in statuses if each.phase == "running"]
    assert len(ran) == len(set(ran))
    ended = [each.attempt for each in statuses if not each.final]
    assert len(ended) == len(set(ended))
    began = 0
    for each in events:
        began += not isinstance(each, JobOutput) and each.phase == "running"
        if isinstance(each, JobOutput):
            assert began, "output before the first attempt began"
    lines = [line for each in events if isinstance(each, JobOutput) for line in each.lines]
    assert len(lines) == len(set(lines))
    if finals[0].exit_code is not None or finals[0].signal is not None:
        assert finals[0].attempt in ran
        assert lines


@pytest.mark.parametrize("seed", range(300))
def test_every_job_ends_once_whatever_the_order(seed):
    dice = random.Random(seed)
    history = History(dice)
    world = World(threads=dice.choice(["at once", "later", "later"]), retries=history.retries)
    pods, jobs = list(history.seen(dice)), list(history.jobs)
    # A Job's last word comes after its pods', or a little before; how long that may take has a test of its own.
    while pods or jobs:
        if pods and (not jobs or dice.random() < 0.7):
            world.tracker.observe_pod(*pods.pop(0))
        elif jobs:
            world.tracker.observe_job(*jobs.pop(0))
        if world.later and dice.random() < 0.5:
            call, args = world.later.pop(dice.randrange(len(world.later)))
            call(*args)
        if dice.random() < 0.2:
            world.look(dice.random() / 10)
    world.run_later()
    world.look(60).look(60)

    check(world.events, history.expected)


@pytest.mark.parametrize("seed", range(100))
def test_every_job_ends_once_also_if_it_is_deleted_any_time(seed):
    dice = random.Random(seed)
    history = History(dice)
    world = World(threads=dice.choice(["at once", "later"]), retries=history.retries)
    pods = list(history.seen(dice))
    at = dice.randrange(len(pods) + 1)
    for number, each in enumerate(pods):
        if number == at:
            world.job(deletionTimestamp="2026-11-24T09:51:00Z").job(kind="DELETED")
        world.tracker.observe_pod(*each)
        if world.later and dice.random() < 0.3:
            call, args = world.later.pop(0)
            call(*args)
    world.job(kind="DELETED")
    world.run_later()
    world.look(60)

    check(world.events, None)


@pytest.mark.parametrize("seed", range(30))
def test_every_job_ends_once_with_all_threads_at_once(seed):
    dice = random.Random(seed)
    history = History(dice)
    world = World(threads="real", retries=history.retries)
    done = threading.Event()

    def look():
        while not done.wait(0.001):
            world.look()

    def tell(observe, events):
        for each in events:
            observe(*each)

    looker = threading.Thread(target=look)
    tellers = [
        threading.Thread(target=tell, args=(world.tracker.observe_pod, list(history.seen(dice)))),
        threading.Thread(target=tell, args=(world.tracker.observe_job, history.jobs)),
    ]
    for thread in (looker, *tellers):
        thread.start()
    for thread in tellers:
        thread.join()
    for thread in world.threads:
        thread.join()
    done.set()
    looker.join()
    world.look(60).look(60)

    check(world.events, history.expected)
