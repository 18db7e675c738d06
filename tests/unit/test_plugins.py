"""How plugins are found, checked and asked."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import click
import pytest

from ascend import hookimpl
from ascend._core.plugins.asking import Plugins
from ascend.errors import NoPluginError, PluginError
from ascend.interfaces import Storage
from ascend.model import ClusterTraits, Image, Needs, NodeType, PlacedFile, Profile, Task, TaskEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ascend.interfaces import Buffer
    from ascend.model import Environment, JobOutput, JobStatus, Manifest

PROFILE = Profile(cluster="local")
TASK = Task("t1", "r1", "job", "module.function", "ada", "crystals", Needs())


class Shelf:
    """A storage that keeps nothing."""

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, key: str, buffers: Sequence[Buffer]) -> None: ...

    def get(self, key: str) -> memoryview:
        return memoryview(bytearray())

    def list(self, prefix: str) -> Iterator[str]:
        return iter(())

    def delete(self, prefix: str) -> None: ...

    def sign(self, key: str, method: Literal["GET", "PUT"], *, lifetime: float) -> str:
        return self.url


class HalfShelf:
    url = "half://"

    def put(self, key: str, buffers: Sequence[Buffer]) -> None: ...

    def get(self, key: str) -> memoryview:
        return memoryview(bytearray())


class Builder:
    name = "acme"

    def ensure(self, environment: Environment, report: Callable[[str], None]) -> Image:
        return Image("image")

    def close(self) -> None: ...


class Farm:
    """A cluster whose traits are known only once it is open."""

    name = "farm"

    @property
    def traits(self) -> ClusterTraits:
        msg = "not open"
        raise RuntimeError(msg)

    def open(self, run_id: str) -> None: ...

    def place(self, name: str, content: bytes) -> PlacedFile:
        return PlacedFile(name)

    def create_job(self, manifest: Manifest) -> None: ...

    def watch(self) -> Iterator[JobStatus | JobOutput]:
        return iter(())

    def delete_job(self, job_name: str) -> None: ...

    def close(self) -> None: ...


class Marshal:
    name = "marshal"

    def dumps(self, value: Any, buffer_callback: Callable[[Any], object]) -> bytes:
        return b""

    def loads(self, data: Buffer, buffers: Sequence[Buffer]) -> Any:
        return None


class Acme:
    """An invented cloud that answers every hook."""

    def __init__(self) -> None:
        self.events: list[TaskEvent] = []

    @hookimpl
    def ascend_cluster(self, name: str) -> Farm | None:
        return Farm() if name == "farm" else None

    @hookimpl
    def ascend_storage(self, url: str) -> Shelf | None:
        return Shelf(url) if url.startswith("acme://") else None

    @hookimpl
    def ascend_image_builder(self, name: str) -> Builder | None:
        return Builder() if name == "acme" else None

    @hookimpl
    def ascend_serializer(self, name: str) -> Marshal | None:
        return Marshal() if name == "marshal" else None

    @hookimpl
    def ascend_node_type(self, name: str, profile: Profile) -> NodeType | None:
        return NodeType(labels={"acme/kind": name, "acme/cluster": profile.cluster}) if name == "big" else None

    @hookimpl
    def ascend_modify_job(self, manifest: Manifest, task: Task) -> None:
        manifest["acme"] = task.id

    @hookimpl
    def ascend_task_event(self, event: TaskEvent) -> None:
        self.events.append(event)

    @hookimpl
    def ascend_register_commands(self, cli: click.Group) -> None:
        cli.add_command(click.Command("acme"))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for variable in ("ASCEND_DISABLE_PLUGINS", "ASCEND_TRACE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)


def load(*plugins: object) -> Plugins:
    return Plugins.load(PROFILE, plugins)


def test_hook_ascend_cluster():
    assert isinstance(load(Acme()).cluster("farm", PROFILE), Farm)


def test_hook_ascend_storage():
    assert load(Acme()).storage("acme://shelf", PROFILE).url == "acme://shelf"


def test_hook_ascend_image_builder():
    assert load(Acme()).image_builder("acme", PROFILE).name == "acme"


def test_hook_ascend_serializer():
    assert load(Acme()).serializer("marshal").name == "marshal"


def test_hook_ascend_node_type():
    assert load(Acme()).node_type("big", PROFILE).labels == {"acme/kind": "big", "acme/cluster": "local"}


def test_hook_ascend_modify_job():
    manifest: Manifest = {}
    load(Acme()).modify_job(manifest, TASK, PROFILE)
    assert manifest == {"acme": "t1"}


def test_hook_ascend_task_event():
    acme, event = Acme(), TaskEvent(TASK, "run", 1.0)
    load(acme).task_event(event)
    assert acme.events == [event]


def test_hook_ascend_register_commands():
    group = click.Group("ascend")
    load(Acme()).register_commands(group)
    assert list(group.commands) == ["acme"]


def test_a_node_type_that_nobody_knows_is_the_clouds_own():
    assert load().node_type("m7.large", PROFILE).labels == {"node.kubernetes.io/instance-type": "m7.large"}


def test_a_node_type_of_another_kind_is_refused():
    class Wrong:
        @hookimpl
        def ascend_node_type(self, name: str) -> str:
            return name

    with pytest.raises(PluginError, match=r"Wrong' answers 'ascend_node_type' with an object of builtins.str"):
        load(Wrong()).node_type("big", PROFILE)


def test_built_in_plugins_are_asked_last():
    class Mine:
        @hookimpl
        def ascend_serializer(self, name: str) -> Marshal:
            return Marshal()

    assert load().serializer("cloudpickle").name == "cloudpickle"
    assert load(Mine()).serializer("cloudpickle").name == "marshal"


def test_of_two_plugins_the_last_named_is_asked_first():
    class One:
        def __init__(self, url: str) -> None:
            self.mine = Shelf(url)

        @hookimpl
        def ascend_storage(self, url: str) -> Shelf:
            return self.mine

    assert load(One("first://"), One("second://")).storage("x://", PROFILE).url == "second://"


def test_that_nobody_answers_names_what_was_asked_for_and_who_was_asked():
    with pytest.raises(
        NoPluginError, match=r"no plugin serves the storage 'gopher://x' \(asked: .*Acme, .*builtin\); .*s3://"
    ):
        load(Acme()).storage("gopher://x", PROFILE)


def test_that_nobody_answers_does_not_tell_passwords():
    with pytest.raises(NoPluginError) as caught:
        load().storage("gopher://ada:hunter2@host/x?sig=hunter2", PROFILE)
    assert "gopher://host/x" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("method", "kind"), [("cluster", "cluster"), ("image_builder", "image builder")])
def test_every_seam_has_its_own_words(method, kind):
    with pytest.raises(NoPluginError, match=f"the {kind} 'nothing'"):
        getattr(load(), method)("nothing", PROFILE)


def test_a_serializer_that_nobody_knows_is_an_error():
    with pytest.raises(NoPluginError, match=r"the serializer 'nothing' .*'cloudpickle' is built in"):
        load().serializer("nothing")


def test_an_answer_that_lacks_members_is_refused_with_their_names():
    class Half:
        @hookimpl
        def ascend_storage(self, url: str) -> HalfShelf:
            return HalfShelf()

    assert not isinstance(HalfShelf(), Storage)
    with pytest.raises(
        PluginError, match=r"Half' answers 'ascend_storage'.* lacks list, delete, sign of ascend.interfaces.Storage"
    ):
        load(Half()).storage("half://", PROFILE)


def test_a_misspelt_hook_is_an_error_with_the_nearest_one():
    class Misspelt:
        @hookimpl
        def ascend_storrage(self, url: str) -> None: ...

    with pytest.raises(
        PluginError, match=r"Misspelt' implements 'ascend_storrage', .* did you mean 'ascend_storage'\?"
    ):
        load(Misspelt())


def test_an_unknown_argument_is_an_error_with_the_known_ones():
    class Wrong:
        @hookimpl
        def ascend_storage(self, uri: str) -> None: ...

    with pytest.raises(
        PluginError, match=r"Wrong' takes 'uri' in 'ascend_storage', which has only the arguments url, profile"
    ):
        load(Wrong())


def test_a_wrapper_is_refused():
    class Wrapper:
        @hookimpl(wrapper=True)
        def ascend_storage(self, url: str):
            return (yield)

    with pytest.raises(PluginError, match="as a wrapper"):
        load(Wrapper())


def test_a_class_is_refused():
    with pytest.raises(PluginError, match="'Acme' is a class; give an instance of Acme"):
        load(Acme)


def test_a_plugin_without_hooks_gets_a_warning():
    with pytest.warns(RuntimeWarning, match="the plugin 'builtins.object' answers no hook$"):
        load(object())


def test_a_hook_without_its_mark_is_told():
    class Unmarked:
        def ascend_storage(self, url: str) -> None: ...

    with pytest.warns(RuntimeWarning, match="mark ascend_storage with @ascend.hookimpl"):
        load(Unmarked())


def test_the_same_object_twice_is_an_error():
    acme = Acme()
    with pytest.raises(
        PluginError, match=r"is there twice, from the argument 'plugins' and from the argument 'plugins'"
    ):
        load(acme, acme)


def test_two_plugins_of_one_name_are_an_error():
    first, second = ModuleType("acme"), ModuleType("acme")
    for module in (first, second):
        module.ascend_task_event = Acme().ascend_task_event
    with pytest.raises(PluginError, match=r"the plugin 'acme' is there twice.*ASCEND_DISABLE_PLUGINS=acme"):
        load(first, second)


def test_an_observer_that_raises_is_named_and_the_others_still_hear(caplog):
    class Broken:
        @hookimpl
        def ascend_task_event(self, event: TaskEvent) -> None:
            msg = "boom"
            raise ValueError(msg)

    acme = Acme()
    with caplog.at_level(logging.WARNING, "ascend"):
        load(acme, Broken()).task_event(TaskEvent(TASK, "run", 1.0))
    assert len(acme.events) == 1
    assert "Broken" in caplog.text
    assert "boom" in caplog.text


def test_what_a_job_change_raises_comes_with_the_plugins_name():
    class Broken:
        @hookimpl
        def ascend_modify_job(self, manifest: Manifest) -> None:
            raise KeyError("spec")

    with pytest.raises(KeyError) as caught:
        load(Broken()).modify_job({}, TASK, PROFILE)
    assert "Broken' in ascend_modify_job" in caught.value.__notes__[0]


def test_commands_that_raise_are_left_out_with_a_warning():
    class Broken:
        @hookimpl
        def ascend_register_commands(self, cli: click.Group) -> None:
            raise KeyError("x")

    group = click.Group("ascend")
    with pytest.warns(RuntimeWarning, match=r"Broken' are left out: KeyError.*ASCEND_DISABLE_PLUGINS="):
        load(Acme(), Broken()).register_commands(group)
    assert list(group.commands) == ["acme"]


def test_describe_tells_name_distribution_version_and_hooks():
    builtin, acme = load(Acme()).describe()[0], load(Acme()).describe()[-1]
    assert (builtin.name, builtin.distribution, builtin.error) == ("builtin", "ascend", None)
    assert "ascend_storage" in builtin.hooks
    assert acme.name.endswith("Acme")
    assert len(acme.hooks) == 8


def test_a_disabled_plugin_is_not_asked_and_is_listed(monkeypatch):
    name = load(Acme()).describe()[-1].name
    monkeypatch.setenv("ASCEND_DISABLE_PLUGINS", f"other, {name}")
    plugins = load(Acme())
    assert plugins.describe()[-1].error == "disabled by ASCEND_DISABLE_PLUGINS"
    with pytest.raises(NoPluginError, match="is not in use: disabled by ASCEND_DISABLE_PLUGINS"):
        plugins.storage("acme://x", PROFILE)


def test_a_trace_prints_hook_calls_and_answers_without_values(monkeypatch, capsys):
    monkeypatch.setenv("ASCEND_TRACE_PLUGINS", "1")
    load(Acme()).storage("acme://ada:hunter2@x", PROFILE)
    text = capsys.readouterr().err
    assert "Acme: ascend_storage(url='acme://x', profile=<profile default>) -> <Shelf>" in text


def test_a_plugin_of_the_profile_that_does_not_load_is_an_error():
    with pytest.raises(
        PluginError, match=r"'no_such_module:plugin' of the setting 'plugins' does not load: ModuleNotFound"
    ):
        Plugins.load(Profile(plugins=("no_such_module:plugin",)))


BROKEN = {"broken": "raise RuntimeError('no luck today')\n"}
GOOD = {
    "good": """
        from ascend import hookimpl
        from ascend.model import NodeType
        @hookimpl
        def ascend_node_type(name):
            return NodeType(labels={"good": name})
    """
}


@pytest.fixture
def python(tmp_path: Path):
    """Return a function that runs a program where some plugins are installed."""

    def run(program: str, installed: dict[str, str], **environ: str) -> subprocess.CompletedProcess[str]:
        for name, text in installed.items():
            (tmp_path / f"{name}_plugin.py").write_text(textwrap.dedent(text))
            info = tmp_path / f"acme_{name}-1.5.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1.5\n")
            (info / "entry_points.txt").write_text(f"[ascend]\n{name} = {name}_plugin\n")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()]), **environ}  # noqa: PTH109
        env.pop("PYTHONWARNINGS", None)
        command = [sys.executable, "-c", textwrap.dedent(program)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


DESCRIBE = """
    import json
    from dataclasses import asdict
    from ascend._core.plugins.asking import Plugins
    from ascend.model import Profile
    Plugins.load(Profile())
    plugins = Plugins.load(Profile())
    print(json.dumps([asdict(info) for info in plugins.describe()]))
    print(plugins.node_type("x", Profile()).labels)
"""


def test_an_installed_plugin_is_found_by_its_entry_point(python):
    done = python(DESCRIBE, GOOD)
    infos = {info["name"]: info for info in json.loads(done.stdout.splitlines()[0])}
    assert (infos["good"]["distribution"], infos["good"]["version"]) == ("acme-good", "1.5")
    assert infos["good"]["hooks"] == ["ascend_node_type"]
    assert "{'good': 'x'}" in done.stdout
    assert not done.stderr


def test_a_broken_plugin_is_one_warning_and_stops_no_other(python):
    done = python(DESCRIBE, {**BROKEN, **GOOD})
    infos = {info["name"]: info for info in json.loads(done.stdout.splitlines()[0])}
    assert infos["broken"]["error"] == "RuntimeError: no luck today"
    assert "broken_plugin.py" in infos["broken"]["traceback"]
    assert "{'good': 'x'}" in done.stdout
    assert done.stderr.count("RuntimeWarning") == 1
    assert "acme-broken 1.5" in done.stderr
    assert "ASCEND_DISABLE_PLUGINS=broken" in done.stderr


def test_a_misspelt_hook_of_an_installed_plugin_stops_no_other(python):
    misspelt = "from ascend import hookimpl\n@hookimpl\ndef ascend_node_typ(name): ...\n"
    done = python(DESCRIBE, {"odd": misspelt, **GOOD})
    assert "did you mean 'ascend_node_type'?" in done.stderr
    assert "{'good': 'x'}" in done.stdout


def test_a_disabled_plugin_is_not_imported(python):
    done = python(DESCRIBE, {**BROKEN, **GOOD}, ASCEND_DISABLE_PLUGINS="broken")
    assert not done.stderr
    assert "disabled by ASCEND_DISABLE_PLUGINS" in done.stdout


def test_an_installed_plugin_named_once_more_is_an_error(python):
    program = """
        from ascend._core.plugins.asking import Plugins
        from ascend.model import Profile
        Plugins.load(Profile(plugins=("good_plugin",)))
    """
    done = python(program, GOOD)
    assert "is there twice, from the entry point good = 'good_plugin' of acme-good 1.5" in done.stderr


def test_the_module_is_importable_without_pluggy(python):
    program = "import sys; sys.modules['pluggy'] = None; import ascend._core.plugins.asking"
    assert python(program, {}).returncode == 0
