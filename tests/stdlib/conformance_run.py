#!/usr/bin/env python3
"""Run CPython's own concurrent.futures tests against a third-party Executor.

    python conformance_run.py MODULE:CALLABLE [options]

CALLABLE(max_workers=N) must return a concurrent.futures.Executor.  It may also
accept ``initializer``/``initargs``.  Nothing of CPython is copied here: the
interpreter's (or Debian's ``libpython3.X-testsuite``) ``test`` package is
imported and its mixins are subclassed.

Where the stock tests come from, first hit wins:
  1. --testsuite DIR / $CONFORMANCE_TESTSUITE  (a dpkg -x root, a directory that
     holds ``test/``, or the ``test`` directory itself)
  2. the running interpreter's own ``test`` package.
``test.support`` always comes from the interpreter when the testsuite lacks it
(Debian ships it in libpython3.X-stdlib, not in the testsuite package).

Every test runs in its own process and session with a hard time limit, so an
executor that hangs fails one test instead of hanging the run.
"""
import argparse
import functools
import importlib
import inspect
import json
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time

MODNAME = "conformance_run"          # importable name of this file in children
EXEC_NAME = "ConformanceExecutor"    # name the stock -c scripts import
SELF_DIR = str(pathlib.Path(__file__).resolve().parent)

# --------------------------------------------------------------------------
# What runs.  Each group: (submodule in the 3.12+ package layout, stock class,
# mode, tests).  mode "all" = every test_* of the class except EXCLUDED;
# mode "only" = the listed tests.  In the <=3.11 layout every class lives in
# the single module test.test_concurrent_futures.
# --------------------------------------------------------------------------
GROUPS = {
    "future":       ("test_future", "FutureTests", "all", ()),
    "executor":     ("executor", "ExecutorTest", "all", ()),
    "process":      ("test_process_pool", "ProcessPoolExecutorTest", "only",
                     ("test_map_chunksize", "test_traceback",
                      "test_ressources_gced_in_workers")),
    "shutdown":     ("test_shutdown", "ExecutorShutdownTest", "all", ()),
    "shutdown2":    ("test_shutdown", "ThreadPoolShutdownTest", "only",
                     ("test_cancel_futures_wait_false",)),
    "wait":         ("test_wait", "WaitTests", "all", ()),
    "as_completed": ("test_as_completed", "AsCompletedTests", "all", ()),
    "init":         ("test_init", "InitializerMixin", "only",
                     ("test_initializer",)),
    "init_fail":    ("test_init", "FailingInitializerMixin", "only",
                     ("test_initializer",)),
    "deadlock":     ("test_deadlock", "ExecutorDeadlockTest", "all", ()),
}

# Tests that cannot be asked of a generic executor, with the reason.
EXCLUDED = {
    ("deadlock", "test_gh105829_should_not_deadlock_if_wakeup_pipe_full"):
        "patches the stdlib's private _ExecutorManagerThread and _ThreadWakeup",
}
# Whole stock classes/tests never generated here (documentation for --list).
NEVER = [
    ("ThreadPoolExecutorTest.test_map_submits_without_iteration", "closure mutates a list of the submitting process"),
    ("ThreadPoolExecutorTest.test_default_workers", "private _max_workers with the thread pool's formula"),
    ("ThreadPoolExecutorTest.test_saturation", "threading.Semaphore argument, private _threads"),
    ("ThreadPoolExecutorTest.test_idle_thread_reuse", "private _threads"),
    ("ThreadPoolExecutorTest.test_hang_global_shutdown_lock", "fork of the thread pool's private lock; names both stdlib pools"),
    ("ThreadPoolExecutorTest.test_process_fork_from_a_threadpool", "private _threads_queues after fork"),
    ("ThreadPoolExecutorTest.test_executor_map_current_future_cancel", "closure over threading.Event and a shared list"),
    ("ThreadPoolShutdownTest.test_threads_terminate", "private _threads, shared Semaphore"),
    ("ThreadPoolShutdownTest.test_context_manager_shutdown", "names ThreadPoolExecutor, private _threads"),
    ("ThreadPoolShutdownTest.test_del_shutdown", "names ThreadPoolExecutor, private _threads"),
    ("ThreadPoolShutdownTest.test_shutdown_no_wait", "names ThreadPoolExecutor, private _threads"),
    ("ThreadPoolShutdownTest.test_thread_names_*", "thread names"),
    ("ThreadPoolWaitTests.test_pending_calls_race", "closure over threading.Event"),
    ("ProcessPoolShutdownTest.*", "private _processes, _call_queue, _executor_manager_thread; names ProcessPoolExecutor"),
    ("ProcessPoolExecutorTest.test_killed_child / test_broken_process_pool_traceback", "reach into private _processes to kill a worker"),
    ("ProcessPoolExecutorTest.test_saturation / test_idle_process_reuse_*", "private _processes, multiprocessing.Semaphore"),
    ("ProcessPoolExecutorTest.test_max_tasks_per_child* / test_max_tasks_early_shutdown", "constructor option of the process pool"),
    ("ProcessPoolExecutorTest.*stranded*/*unreplaceable*/*force_shutdown*/terminate_workers/kill_workers", "process-pool-only API and privates"),
    ("ProcessPoolExecutorTest.test_python_finalization_error", "patches threading internals of the process pool"),
    ("ProcessPoolExecutorTest.test_max_workers_too_large", "Windows handle limit"),
    ("InterpreterPool*", "subinterpreters (3.14)"),
    ("FailingInitializerResourcesTest.*", "multiprocessing resource tracker"),
]
# Not meaningful when workers are threads of the test process itself.
THREAD_NA = {
    "deadlock": "kills or exits the worker, which would be the test process",
    ("process", "test_traceback"): "no remote traceback: same process",
    ("process", "test_map_chunksize"): "ThreadPoolExecutor documents that chunksize is ignored",
    ("process", "test_ressources_gced_in_workers"): "object is not copied to a worker",
}

ENV = "CONFORMANCE_"


def cfg(name, default=""):
    return os.environ.get(ENV + name, default)


def load_object(spec):
    modname, _, attr = spec.partition(":")
    obj = importlib.import_module(modname)
    for part in filter(None, attr.split(".")):
        obj = getattr(obj, part)
    return obj


# --------------------------------------------------------------------------
# Things the stock tests expect, supplied for a generic executor
# --------------------------------------------------------------------------
class FileEvent:
    """Picklable event for workers that share a file system with the tests."""

    def __init__(self, path=None):
        if path is None:
            fd, path = tempfile.mkstemp(dir=cfg("EVENT_DIR") or None, prefix="ev-")
            os.close(fd)
            os.unlink(path)
        self.path = path

    def is_set(self):
        return os.path.exists(self.path)

    def set(self):
        open(self.path, "w").close()

    def clear(self):
        if self.is_set():
            os.unlink(self.path)

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            if end is not None and time.monotonic() >= end:
                return self.is_set()
            time.sleep(0.01)
        return True


def make_event():
    spec = cfg("EVENT")
    return load_object(spec)() if spec else FileEvent()


class _Manager:
    Event = staticmethod(make_event)

    def shutdown(self):
        pass

    join = shutdown


class _Context:
    """Stands in for a multiprocessing context."""
    Manager = _Manager

    def get_start_method(self, allow_none=False):
        return "remote"


class _NoThread:
    def join(self, timeout=None):
        pass


class ExecutorType:
    """The ``executor_type`` of the stock mixins: swallows mp_context, accepts
    max_workers by position, and has a ``__name__``."""
    __name__ = EXEC_NAME

    def __call__(self, max_workers=None, mp_context=None, **kwargs):
        factory = load_object(cfg("FACTORY"))
        if max_workers is not None:
            kwargs["max_workers"] = max_workers
        if "initializer" in kwargs:
            try:
                inspect.signature(factory).bind(**kwargs)
            except TypeError as exc:
                import unittest
                raise unittest.SkipTest(f"factory takes no initializer ({exc})")
        executor = factory(**kwargs)
        if cfg("SHIM_MANAGER") and not hasattr(executor, "_executor_manager_thread"):
            executor._executor_manager_thread = _NoThread()
        return executor


executor_type = ExecutorType()


def install_in_subprocess():
    """Called first thing inside the stock tests' ``python -c`` scripts."""
    import concurrent.futures
    setattr(concurrent.futures, EXEC_NAME, executor_type)
    maybe_by_value()


def maybe_by_value():
    if cfg("BY_VALUE"):
        import cloudpickle
        for name in sorted(sys.modules):
            if name.startswith("test.test_concurrent_futures") or name == MODNAME:
                cloudpickle.register_pickle_by_value(sys.modules[name])


# --------------------------------------------------------------------------
# Locating the stock test modules
# --------------------------------------------------------------------------
def find_test_dir(where):
    """Return the directory that holds test_concurrent_futures[.py]."""
    root = pathlib.Path(where)
    tries = [root, root / "test"]
    tries += sorted(root.glob("usr/lib/python3*/test"), key=lambda p: (
        p.parent.name != f"python{sys.version_info[0]}.{sys.version_info[1]}", p))
    for cand in tries:
        if (cand / "test_concurrent_futures").is_dir() or \
                (cand / "test_concurrent_futures.py").is_file():
            return str(cand)
    return None


def stdlib_test_dir():
    return os.path.join(sysconfig.get_paths()["stdlib"], "test")


def stock(submodule):
    base = importlib.import_module("test.test_concurrent_futures")
    if hasattr(base, "__path__"):
        return importlib.import_module(f"test.test_concurrent_futures.{submodule}")
    return base


def have_stock(submodule, clsname):
    try:
        return hasattr(stock(submodule), clsname)
    except ModuleNotFoundError:
        return False


def enumerate_tests():
    out = []
    for group, (sub, clsname, mode, names) in GROUPS.items():
        if not have_stock(sub, clsname):
            out.append((group, "*", "absent", "not in this Python's test suite"))
            continue
        cls = getattr(stock(sub), clsname)
        tests = sorted(n for n in dir(cls) if n.startswith("test_"))
        if mode == "only":
            tests = [n for n in names if n in tests]
        for name in tests:
            reason = EXCLUDED.get((group, name))
            if reason is None and cfg("KIND") == "thread":
                reason = THREAD_NA.get(group) or THREAD_NA.get((group, name))
            out.append((group, name, "excluded" if reason else "run", reason or ""))
    return out


# --------------------------------------------------------------------------
# The generated TestCase, one per group, importable as conformance_run.<name>
# so that bound methods of it can be pickled to workers
# --------------------------------------------------------------------------
def _class_name(group):
    return "Conformance_" + group


def __getattr__(name):
    if name.startswith("Conformance_") and name[12:] in GROUPS:
        return make_class(name[12:])
    raise AttributeError(name)


@functools.lru_cache(maxsize=None)
def make_class(group):
    sub, clsname, _, _ = GROUPS[group]
    util = stock("util")
    limit = float(cfg("TIMEOUT", "120"))
    body = {"__module__": MODNAME}

    if group == "future":
        _substitute_future(util)
        mixin = getattr(stock(sub), clsname)
        cls = type(_class_name(group), (mixin,), body)
    else:
        module = stock(sub)
        mixin = getattr(module, clsname)
        body.update(
            executor_type=executor_type,
            worker_count=int(cfg("WORKERS", "5")),
            create_event=lambda self: make_event(),
            get_context=lambda self: _Context(),
        )
        if group in ("init", "init_fail"):
            body["worker_count"] = 2
        if group == "init_fail":
            # the stock check reads the log of a thread in this very process
            body["_assert_logged"] = _no_log_check
            body["setUp"] = lambda self: _need_broken_flag(self, mixin)
        if group == "deadlock":
            body["TIMEOUT"] = limit / 2
            body["_fail_on_deadlock"] = _report_deadlock
            if not cfg("STRICT"):
                module.BrokenProcessPool = load_object(
                    cfg("BROKEN") or "concurrent.futures:BrokenExecutor")
        if group.startswith("shutdown"):
            module.assert_python_ok = _wrap_script_runner(
                module.assert_python_ok, rename=(group == "shutdown2"))
        bases = [mixin]
        if not issubclass(mixin, util.ExecutorMixin):
            bases.append(util.ExecutorMixin)
        if not issubclass(mixin, util.BaseTestCase):
            bases.append(util.BaseTestCase)
        cls = type(_class_name(group), tuple(bases), body)
    globals()[cls.__name__] = cls
    return cls


def _need_broken_flag(self, mixin):
    mixin.setUp(self)
    if not hasattr(self.executor, "_broken"):
        self.addCleanup(self.executor.shutdown)
        self.skipTest("the stock test polls a private attribute, executor._broken")


def _no_log_check(self, msg):
    import contextlib
    return contextlib.nullcontext()


def _report_deadlock(self, executor):
    import faulthandler
    faulthandler.dump_traceback(file=sys.__stderr__)
    self.fail("no outcome within TIMEOUT: deadlock")


def _wrap_script_runner(real, rename):
    def run(*args, **env):
        args = list(args)
        if "-c" in args:
            at = args.index("-c") + 1
            code = args[at]
            if rename:      # scripts that spell out the stdlib class
                code = code.replace("ThreadPoolExecutor", EXEC_NAME)
            args[at] = (f"import {MODNAME}; {MODNAME}.install_in_subprocess()\n"
                        + code)
        env.setdefault("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        env.setdefault("__isolated", False)
        return real(*args, **env)
    return run


def _substitute_future(util):
    """Point the stock FutureTests at the executor's own Future class."""
    import concurrent.futures
    import unittest
    spec = cfg("FUTURE")
    if spec:
        kind = load_object(spec)
    else:
        executor = executor_type(max_workers=1)
        fut = executor.submit(abs, -1)
        fut.result()
        kind = type(fut)
        executor.shutdown(wait=True)
    if kind is concurrent.futures.Future:
        return
    if not issubclass(kind, concurrent.futures.Future):
        raise unittest.SkipTest(f"{kind!r} is not a concurrent.futures.Future")
    try:
        kind()
    except TypeError as exc:
        raise unittest.SkipTest(f"{kind.__qualname__}() needs arguments ({exc});"
                                " pass --future module:callable")
    if not cfg("STRICT") and kind.__name__ != "Future":
        # repr tests spell '<Future at 0x...'; the name is the only difference
        kind = type("Future", (kind,), {"__module__": MODNAME})
    base = stock("util")
    base.Future = kind
    for name in ("PENDING_FUTURE", "RUNNING_FUTURE", "CANCELLED_FUTURE",
                 "CANCELLED_AND_NOTIFIED_FUTURE", "EXCEPTION_FUTURE",
                 "SUCCESSFUL_FUTURE"):
        old = getattr(base, name)
        setattr(base, name, base.create_future(
            state=old._state, exception=old._exception, result=old._result))
    # imported only now, so that it picks up the substituted constants
    stock("test_future").Future = kind


# --------------------------------------------------------------------------
# Child side
# --------------------------------------------------------------------------
def child_main(argv):
    if argv[0] == "list":
        print(json.dumps(enumerate_tests()))
        return
    group, name, out = argv[1:4]
    import faulthandler
    import unittest
    from test import support
    support.use_resources = None
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(5.0, float(cfg("TIMEOUT")) - 5), exit=False)
    result = unittest.TestResult()
    started = time.monotonic()
    try:
        if group == "deadlock":
            os.environ[ENV + "SHIM_MANAGER"] = "1"
        case = make_class(group)(name)
        maybe_by_value()
        case.run(result)
    except unittest.SkipTest as exc:
        result.addSkip(None, str(exc))
    except Exception as exc:
        import traceback
        result.errors.append((None, "while building the test: " + "".join(
            traceback.format_exception(type(exc), exc, exc.__traceback__))))
    if result.errors or result.failures:
        status = "FAIL"
        detail = "\n".join(t for _, t in result.errors + result.failures)
    elif result.skipped:
        status, detail = "SKIP", result.skipped[0][1]
    else:
        status, detail = "PASS", ""
    faulthandler.cancel_dump_traceback_later()
    note = "env-changed" if getattr(support, "environment_altered", False) else ""
    tmp = out + ".tmp"
    with open(tmp, "w") as f:
        json.dump({"status": status, "detail": detail, "note": note,
                   "seconds": time.monotonic() - started}, f)
    os.rename(tmp, out)


# --------------------------------------------------------------------------
# Parent side
# --------------------------------------------------------------------------
def session_members(sid):
    """Processes still in the child's session (Linux; [] elsewhere)."""
    found = []
    try:
        entries = os.listdir("/proc")
    except OSError:
        return found
    for entry in entries:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    rest = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if rest[0] != "Z" and int(rest[3]) == sid:
                found.append(int(entry))
    return found


def session_rss_mb(sid):
    total = 0
    for pid in session_members(sid):
        try:
            with open(f"/proc/{pid}/statm") as f:
                total += int(f.read().split()[1])
        except (OSError, ValueError):
            pass
    return total * os.sysconf("SC_PAGE_SIZE") >> 20


def kill_session(proc):
    left = [p for p in session_members(proc.pid) if p != proc.pid]
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except OSError:
        pass
    return left


def last_line(text):
    lines = [ln.strip() for ln in text.strip().splitlines() if ln.strip(" -^~")]
    return lines[-1] if lines else ""


def run_one(args, env, tmp, group, name):
    out = os.path.join(tmp, f"{group}-{name}.json")
    log = os.path.join(args.log_dir or tmp, f"{group}-{name}.log")
    cmd = [sys.executable, "-c",
           f"import sys, {MODNAME}; {MODNAME}.child_main(sys.argv[1:])",
           "run", group, name, out]
    started = time.monotonic()
    with open(log, "wb") as logf:
        proc = subprocess.Popen(cmd, env=env, stdin=subprocess.DEVNULL, stdout=logf,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                cwd=tmp)
        deadline = started + args.timeout
        done_at = None
        timed_out = False
        too_big = 0
        next_look = started + 1
        while proc.poll() is None:
            now = time.monotonic()
            if args.max_rss_mb and now > next_look:
                next_look = now + 0.5
                if session_rss_mb(proc.pid) > args.max_rss_mb:
                    too_big = args.max_rss_mb
                    break
            if done_at is None and os.path.exists(out):
                done_at = now
            if now > deadline or (done_at and now > done_at + args.exit_grace):
                timed_out = True
                break
            time.sleep(0.02)
        if not (timed_out or too_big):   # helpers that follow their parent get a moment
            settle = time.monotonic() + 3
            while session_members(proc.pid) and time.monotonic() < settle:
                time.sleep(0.05)
        leaked = kill_session(proc)
        proc.wait()
    seconds = time.monotonic() - started
    try:
        with open(out) as f:
            res = json.load(f)
    except OSError:
        res = {"status": "FAIL", "note": "", "detail": ""}
        if too_big:
            res["detail"] = f"memory of the test's processes passed {too_big} MB"
        elif timed_out:
            res["detail"] = f"TIMEOUT after {args.timeout:g} s"
        elif proc.returncode < 0:
            res["detail"] = ("test process died: "
                             + signal.Signals(-proc.returncode).name)
        else:
            res["detail"] = f"test process exited {proc.returncode} without a result"
    else:
        if timed_out:
            res["note"] = (res["note"] + " exit-hang").strip()
            if res["status"] != "FAIL":
                res["detail"] = (f"verdict was {res['status']} but the interpreter "
                                 f"did not exit within {args.exit_grace:g} s")
                res["status"] = "FAIL"
        elif res["status"] == "PASS" and proc.returncode:
            res["note"] = (res["note"] + f" exit-code={proc.returncode}").strip()
    if leaked and not timed_out:
        res["note"] = (res["note"] + f" leaked-procs={len(leaked)}").strip()
    res.update(group=group, test=name, seconds=seconds, log=log)
    return res


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("factory", nargs="?", help="module:callable -> Executor")
    ap.add_argument("--testsuite", default=os.environ.get(ENV + "TESTSUITE", ""),
                    help="where the stock tests are (default: this interpreter's)")
    ap.add_argument("--timeout", type=float, default=120, help="seconds per test")
    ap.add_argument("--exit-grace", type=float, default=30,
                    help="seconds the interpreter may take to exit after a verdict")
    ap.add_argument("--max-rss-mb", type=int, default=2048,
                    help="memory limit per test, all its processes (0: none)")
    ap.add_argument("--kind", choices=("remote", "thread"), default="remote")
    ap.add_argument("--workers", type=int, default=5)
    ap.add_argument("--event", default="", help="module:callable -> picklable Event")
    ap.add_argument("--future", default="", help="module:callable -> bare Future")
    ap.add_argument("--broken", default="",
                    help="module:Class accepted where the stock tests want "
                         "BrokenProcessPool (default concurrent.futures:BrokenExecutor)")
    ap.add_argument("--strict", action="store_true",
                    help="BrokenProcessPool exactly, and the Future's own class name")
    ap.add_argument("--by-value", action="store_true",
                    help="cloudpickle the test modules by value (workers lack them)")
    ap.add_argument("--groups", default="", help="comma separated subset")
    ap.add_argument("-k", dest="pattern", default="", help="substring of group.test")
    ap.add_argument("--only", default="", metavar="GROUP.TEST", help="this one test")
    ap.add_argument("--repeat", type=int, default=1, help="a test passes if every run does")
    ap.add_argument("--path", action="append", default=[], help="extra sys.path entry")
    ap.add_argument("--log-dir", default="")
    ap.add_argument("--json", default="")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("-v", "--verbose", action="store_true", help="print full failures")
    args = ap.parse_args(argv)
    if not args.factory and not args.list:
        ap.error("factory is required (module:callable)")

    where = args.testsuite or stdlib_test_dir()
    testdir = find_test_dir(where)
    if testdir is None:
        v = "%d.%d" % sys.version_info[:2]
        ap.error(f"no test_concurrent_futures under {where}; e.g. apt-get download "
                 f"libpython{v}-testsuite && dpkg -x *.deb DIR, then --testsuite DIR")

    with tempfile.TemporaryDirectory(prefix="conformance-") as tmp:
        overlay = os.path.join(tmp, "overlay")
        os.makedirs(os.path.join(overlay, "test"))
        with open(os.path.join(overlay, "test", "__init__.py"), "w") as f:
            f.write(f"__path__ = {[testdir, stdlib_test_dir()]!r}\n")
        # children and workers import this file by name
        lib = os.path.join(tmp, "lib")
        os.makedirs(lib)
        os.symlink(os.path.abspath(__file__), os.path.join(lib, MODNAME + ".py"))
        events = os.path.join(tmp, "events")
        os.makedirs(events)
        if args.log_dir:
            args.log_dir = os.path.abspath(args.log_dir)
            os.makedirs(args.log_dir, exist_ok=True)
        path = [overlay, lib, *map(os.path.abspath, args.path), SELF_DIR, os.getcwd()]
        if os.environ.get("PYTHONPATH"):
            path.append(os.environ["PYTHONPATH"])
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(path))
        env.update({ENV + k: str(v) for k, v in dict(
            FACTORY=args.factory or "", TIMEOUT=args.timeout, WORKERS=args.workers,
            EVENT=args.event, FUTURE=args.future, BROKEN=args.broken,
            STRICT="1" if args.strict else "", KIND=args.kind,
            BY_VALUE="1" if args.by_value else "", EVENT_DIR=events).items()})

        if args.only:       # named by someone who has the listing: saves making it again
            tests = [(*args.only.split(".", 1), "run", "")]
        else:
            listing = subprocess.run(
                [sys.executable, "-c",
                 f"import sys, {MODNAME}; {MODNAME}.child_main(sys.argv[1:])", "list"],
                env=env, cwd=tmp, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if listing.returncode:
                sys.exit(f"cannot import the stock tests from {testdir}:\n{listing.stderr}")
            tests = json.loads(listing.stdout.splitlines()[-1])
        chosen = set(filter(None, args.groups.split(",")))
        tests = [t for t in tests if (not chosen or t[0] in chosen)
                 and args.pattern in f"{t[0]}.{t[1]}"]

        print(f"# python {sys.version.split()[0]}  tests {testdir}  factory {args.factory}"
              f"{'  strict' if args.strict else ''}")
        if args.list:
            for group, name, what, why in tests:
                print(f"{what:9} {group}.{name}{'  -- ' + why if why else ''}")
            for name, why in NEVER:
                print(f"{'never':9} {name}  -- {why}")
            return 0

        results = []
        for group, name, what, why in tests:
            if what == "run":
                for _ in range(max(1, args.repeat)):
                    res = run_one(args, env, tmp, group, name)
                    if res["status"] != "PASS":
                        break
            else:
                res = dict(group=group, test=name, status="N/A", detail=why,
                           note="", seconds=0.0)
            results.append(res)
            line = f"{res['status']:5} {group}.{name}"
            if res["status"] != "N/A":
                line += f"  {res['seconds']:.1f}s"
            if res["note"]:
                line += f"  [{res['note']}]"
            if res["status"] != "PASS":
                line += f"  -- {last_line(res['detail'])[:200]}"
            print(line, flush=True)
            if args.verbose and res["status"] == "FAIL":
                print(res["detail"])

        print("\n# per group: passed/applicable (skipped, not applicable)")
        total = {}
        for group in dict.fromkeys(r["group"] for r in results):
            mine = [r for r in results if r["group"] == group]
            count = {s: sum(r["status"] == s for r in mine)
                     for s in ("PASS", "FAIL", "SKIP", "N/A")}
            for k, v in count.items():
                total[k] = total.get(k, 0) + v
            print(f"  {group:13} {count['PASS']:3}/{count['PASS'] + count['FAIL']:<3}"
                  f" (skip {count['SKIP']}, n/a {count['N/A']})")
        ran = total["PASS"] + total["FAIL"]
        noted = sum(bool(r["note"]) for r in results)
        wall = sum(r["seconds"] for r in results)
        print(f"TOTAL {total['PASS']}/{ran} passed, {total['FAIL']} failed, "
              f"{total['SKIP']} skipped, {total['N/A']} not applicable, "
              f"{noted} with notes, {wall:.0f} s")
        if args.json:
            with open(args.json, "w") as f:
                json.dump({"python": sys.version, "testdir": testdir,
                           "factory": args.factory, "strict": args.strict,
                           "total": total, "results": results}, f, indent=1)
        return 1 if total["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
