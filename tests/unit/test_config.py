"""What a profile is made of, and what is said of a setting that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ascend._core.config.files import line_of, refuse_strangers
from ascend._core.config.profile import check_needs, load_profile, resolve
from ascend._core.config.settings import NEEDS, PLACES, SETTINGS
from ascend.errors import ConfigError
from ascend.model import JOINED, Needs, Profile, Secret, Volume

REFERENCE = Path(__file__).parents[2] / "docs/reference/configuration.md"


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    folder = tmp_path / "user-settings"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    (folder / "ascend").mkdir(parents=True)
    return folder / "ascend"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "My Crystals!"
    (folder / ".git").mkdir(parents=True)
    return folder


def load(
    project: Path, *, name: str | None = None, environ: dict[str, str] | None = None, **arguments: object
) -> Profile:
    return load_profile(name, arguments=arguments, start=project, environ=environ or {})


def write(folder: Path, text: str, name: str = "ascend.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_without_any_word_the_cluster_is_kubernetes(project):
    assert load(project).cluster == "kubernetes"


def test_the_project_is_named_after_its_folder(project):
    inner = project / "src"
    inner.mkdir()
    assert load(inner).project == "my-crystals"


def test_every_setting_and_need_is_a_field_of_the_model():
    assert {*PLACES} == {*Profile.__dataclass_fields__} - {"needs", "plugin_config", "name"}
    assert {*NEEDS} == {*Needs.__dataclass_fields__} - {"project"}


def test_arguments_go_before_variables_before_the_project_before_the_user(project, user_folder):
    write(user_folder, 'cluster = "a"\nstorage = "a://"\nuser = "a"\nnamespace = "a"', "config.toml")
    write(project, 'cluster = "b"\nstorage = "b://"\nuser = "b"')
    environ = {"ASCEND_CLUSTER": "c", "ASCEND_STORAGE": "c://"}
    profile = load(project, environ=environ, cluster="d")
    assert (profile.cluster, profile.storage, profile.user, profile.namespace) == ("d", "c://", "b", "a")


def test_resolve_tells_the_origin_of_every_value(project, user_folder):
    user = write(user_folder, 'namespace = "a"', "config.toml")
    own = write(project, '# mine\n\nuser = "b"')
    found = resolve(arguments={"cpu": 2}, start=project, environ={"ASCEND_MEMORY": "4Gi"}).values
    assert found["namespace"].origin == f"{user}:1"
    assert found["user"].origin == f"{own}:3"
    assert (found["cpu"].value, found["cpu"].origin) == ("2", "argument")
    assert (found["memory"].value, found["memory"].origin) == ("4Gi", "ASCEND_MEMORY")
    assert found["gpus"].origin == "default"
    assert {*SETTINGS} < {*found}


def test_pyproject_has_the_same_under_tool_ascend(project):
    write(
        project,
        '[project]\nname = "x"\n[tool.ascend]\nmemory = "1Gi"\n[tool.ascend.profiles.gpu]\ngpus = 2',
        "pyproject.toml",
    )
    needs = load(project, name="gpu").needs
    assert (needs.memory, needs.gpus) == ("1Gi", 2)


def test_settings_in_both_files_of_a_folder_are_refused(project):
    write(project, "[tool.ascend]\ngpus = 1", "pyproject.toml")
    write(project, "gpus = 1")
    with pytest.raises(ConfigError, match="move them into one of the two"):
        load(project)


def test_a_pyproject_without_our_table_does_not_end_the_search(project):
    inner = project / "packages"
    inner.mkdir()
    write(inner, '[project]\nname = "x"', "pyproject.toml")
    write(project, "gpus = 3")
    assert load(inner).needs.gpus == 3


def test_the_search_ends_where_git_begins(project):
    write(project.parent, "gpus = 3")
    assert load(project).needs.gpus is None


def test_the_search_ends_at_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    inner = home / "work"
    inner.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    write(tmp_path, "gpus = 3")
    assert load(inner).needs.gpus is None


@pytest.mark.parametrize("way", ["argument", "variable", "file"])
def test_a_profile_is_chosen_by(way, project):
    key = 'profile = "gpu"\n' if way == "file" else ""
    write(project, f'{key}gpus = 1\nmemory = "1Gi"\n[profiles.gpu]\ngpus = 2')
    environ = {"ASCEND_PROFILE": "gpu"} if way == "variable" else {}
    profile = load(project, name="gpu" if way == "argument" else None, environ=environ)
    assert (profile.name, profile.needs.gpus, profile.needs.memory) == ("gpu", 2, "1Gi")


def test_an_unknown_profile_is_an_error_with_the_nearest(project):
    path = write(project, "[profiles.gpu]\ngpus = 2")
    with pytest.raises(ConfigError, match=r"profile 'gpus' .*did you mean 'gpu'") as caught:
        load(project, name="gpus")
    assert str(path) in str(caught.value)


def test_tables_of_plugins_are_handed_to_them(project, user_folder):
    write(user_folder, '[plugins.acme]\nregion = "a"\naccount = "1"', "config.toml")
    write(project, '[plugins]\nload = ["acme_cloud:plugin"]\n[plugins.acme]\nregion = "b"')
    profile = load(project)
    assert profile.plugin_config == {"acme": {"region": "b", "account": "1"}}
    assert profile.plugins == ("acme_cloud:plugin",)


def test_plugins_are_a_list_too(project):
    write(project, 'plugins = ["acme_cloud"]')
    assert load(project).plugins == ("acme_cloud",)


def test_env_and_secrets_are_joined_key_by_key(project, user_folder):
    write(user_folder, 'env = { A = "1", B = "1" }', "config.toml")
    write(project, 'env = { B = "2" }\nsecrets = { TOKEN = { name = "tokens", key = "t" } }')
    needs = load(project, env={"C": "3"}).needs
    assert needs.env == {"A": "1", "B": "2", "C": "3"}
    assert needs.secrets == {"TOKEN": Secret("tokens", "t")}


def test_volumes_are_read_from_tables_and_joined_key_by_key(project):
    write(project, '[volumes]\n"/data" = { claim = "a", read_only = true }\n"/dev/shm" = { memory = "1Gi" }')
    needs = load(project, volumes={"/dev/shm": Volume(memory="2Gi")}).needs
    assert needs.volumes == {"/data": Volume(claim="a", read_only=True), "/dev/shm": Volume(memory="2Gi")}
    assert check_needs({"volumes": {"/x": Volume("b")}}).over(needs).volumes == {**needs.volumes, "/x": Volume("b")}


def test_every_joined_need_is_a_table(project):
    assert {name for name in JOINED if NEEDS[name].kind.startswith("table")} == JOINED


def test_all_problems_of_a_file_are_told_together_with_their_lines(project):
    path = write(project, '# c\ncluser = "x"\ncpu = "two"\n[profiles.a]\ngpus = "1"\ntimout = 3\n')
    with pytest.raises(ConfigError) as caught:
        load(project)
    assert str(caught.value).splitlines() == [
        f"{path}:2: unknown key 'cluser': did you mean 'cluster'?",
        f"{path}:3: cpu must be CPUs such as '2', '0.5' or '500m', not 'two'",
        f"{path}:5: gpus must be a whole number, not '1'",
        f"{path}:6: unknown key 'timout': did you mean 'timeout'?",
    ]


def test_what_is_not_toml_is_an_error_with_file_and_line(project):
    path = write(project, "gpus = 1\ncpu = = 2")
    with pytest.raises(ConfigError, match=r"is not valid TOML: .*line 2") as caught:
        load(project)
    assert str(path) in str(caught.value)


def test_a_table_that_is_none_is_an_error(project):
    write(project, "[tool]\nascend = 3", "pyproject.toml")
    with pytest.raises(ConfigError, match=r"pyproject.toml:2: tool.ascend must be a table, not 3"):
        load(project)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu", "0"), ("cpu", "2 CPUs"), ("cpu", True), ("memory", "4"), ("memory", "4gi"), ("memory", 4),
        ("gpus", -1), ("gpus", 1.5), ("timeout", 0), ("timeout", -1), ("timeout", float("nan")), ("timeout", True),
        ("queue_timeout", "60"), ("retries", -1), ("stream_logs", 1), ("requirements", 3),
        ("requirements", ["no such=thing"]), ("env", {"A": 1}), ("env", {"A-B": "1"}), ("env", ["A"]),
        ("secrets", {"T": "hunter2"}), ("labels", "team"), ("job_patch", ["spec"]),
        ("service_account", "My Account"), ("priority", "a" * 254), ("priority", "a..b"),
        ("queue", "a" * 64), ("queue", ""),
        ("volumes", ["/data"]), ("volumes", {"/data": "datasets"}), ("base_image", ""),
        ("base_image", "python:{version}-slim"), ("base_image", "python:{python-slim"),
        ("project", "My Project"), ("platform", "windows/amd64"), ("node_type", 3),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"^the argument {name} must ") as caught:
        check_needs({name: value})
    assert "hunter2" not in str(caught.value)


def test_credentials_in_the_url_of_a_requirement_are_refused_and_not_told():
    with pytest.raises(ConfigError, match=r"^the argument requirements must hold no credentials: .*index_") as caught:
        check_needs({"requirements": ["six", "x @ https://ada:hunter2@host/x.whl"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [
        ("cpu", 2, "2"), ("cpu", 0.5, "0.5"), ("cpu", "500m", "500m"), ("memory", "512Mi", "512Mi"),
        ("timeout", 60, 60.0), ("requirements", "numpy", ("numpy",)), ("requirements", "auto", ("auto",)),
        ("requirements", ["uv.lock[gpu]"], ("uv.lock[gpu]",)), ("platform", "linux/arm64", "linux/arm64"),
        ("requirements", ["numpy>=2 ", "x @ https://host/x.whl"], ("numpy>=2", "x @ https://host/x.whl")),
        ("requirements", (), ()), ("env", {"A": "1"}, {"A": "1"}), ("gpus", 0, 0), ("project", "a-1", "a-1"),
        ("base_image", "host:5000/a/python:{python}-slim@x", "host:5000/a/python:{python}-slim@x"),
        ("secrets", {"T": Secret("a", "b")}, {"T": Secret("a", "b")}),
        ("volumes", {"/a": {"claim": "b.c"}}, {"/a": Volume("b.c")}),
        ("service_account", "a-1.b", "a-1.b"), ("priority", "a" * 253, "a" * 253), ("queue", "a" * 63, "a" * 63),
        ("cpu", None, None),
    ],
)  # fmt: skip
def test_a_value_that_fits_comes_in_its_own_form(name, value, checked):
    assert getattr(check_needs({name: value}), name) == checked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index_urls", "https://a.example"),
        ("index_urls", ["file:///wheels"]),
        ("index_urls", ["https://ada:hunter2@a.example"]),
        ("index_secret", "No Name"),
        ("package_cache", "A"),
        ("certificates", ""),
    ],
)
def test_a_place_of_packages_that_does_not_fit_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"^the argument {name} must ") as caught:
        load_profile(arguments={name: value})
    assert "hunter2" not in str(caught.value)


def test_places_of_packages_are_settings():
    places = {"index_urls": ["https://a.example/simple"], "index_secret": "index", "package_cache": "packages"}
    profile = load_profile(arguments={**places, "certificates": "/a.pem"})
    assert profile.index_urls == ("https://a.example/simple",)
    assert (profile.index_secret, profile.package_cache, profile.certificates) == ("index", "packages", "/a.pem")


@pytest.mark.parametrize("path", ["data", "", "/", "//data", "/data/", "/a/../b", "/a/./b", "/a:b", 3])
def test_a_volume_has_a_plain_absolute_path(path):
    with pytest.raises(ConfigError, match=r"volumes must have .*paths") as caught:
        check_needs({"volumes": {path: Volume("a")}})
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", ["/ascend", "/ascend/work", "/tmp", "/tmp/x/y"])
def test_a_volume_leaves_our_folders_alone(path):
    with pytest.raises(ConfigError, match=rf"volumes must leave /\w+ to ascend, .*: '{path}'"):
        check_needs({"volumes": {path: Volume("a")}})
    assert check_needs({"volumes": {"/tmpx": Volume("a"), "/data/tmp": Volume("a")}}).volumes


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        (Volume(), "either a claim or memory"),
        (Volume("a", "1Gi"), "either a claim or memory"),
        (Volume("My Claim"), "PersistentVolumeClaim"),
        (Volume("a" * 254), "PersistentVolumeClaim"),
        ({"claim": 3}, "PersistentVolumeClaim"),
        (Volume(memory="2"), "a size with its unit such as '2Gi' as memory"),
        ({"claim": "a", "read_only": 1}, "true or false as read_only"),
        ({"claim": "a", "readonly": True}, "claim or memory, and perhaps read_only,"),
    ],
)
def test_a_volume_is_one_thing_and_whole(volume, problem):
    with pytest.raises(ConfigError, match=rf"^the argument volumes must .*{problem} at /data"):
        check_needs({"volumes": {"/data": volume}})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("ascend.dev/run", "ascend finds its own Jobs"),
        ("batch.kubernetes.io/job-name", "Kubernetes writes such labels itself"),
        ("app.kubernetes.io/managed-by", "it says ascend"),
    ],
)
def test_labels_that_others_write_are_refused_with_the_reason(key, reason):
    with pytest.raises(ConfigError, match=rf"labels must not have {key}: {reason}"):
        check_needs({"labels": {key: "x"}})
    assert check_needs({"labels": {f"x.{key}": "x", "app.kubernetes.io/part-of": "y"}}).labels


@pytest.mark.parametrize("key", ["", "/x", "x/", "a b", "-a", "a" * 64, "A.com/x", "a/b/c", "a" * 254 + "/x", 3])
def test_a_label_has_a_key_that_kubernetes_takes(key):
    with pytest.raises(ConfigError, match=r"labels must have keys such as"):
        check_needs({"labels": {key: "x"}})


@pytest.mark.parametrize("value", ["a b", "-", "x.", "x" * 64, "ü", 3, None])
def test_a_label_has_a_value_that_kubernetes_takes(value):
    with pytest.raises(ConfigError, match=r"labels must have values of .*, and team is "):
        check_needs({"labels": {"team": value}})


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ({"spec": {3: "x"}}, r"strings as keys, and spec has 3"),
        ({3: "x"}, r"strings as keys, and it has 3"),
        ({"spec": {"a": [{"b": {1}}]}}, r"what JSON can, and spec\.a\[0\]\.b is \{1\}"),
        ({"a": float("nan")}, r"what JSON can, and a is nan"),
        ({"metadata": {"name": "mine"}}, "leave the name and the label"),
        ({"metadata": {"labels": None}}, "leave the name and the label"),
        ({"metadata": {"labels": {"ascend.dev/run": "x"}}}, "leave the name and the label"),
        ({"metadata": "x"}, "leave the name and the label"),
        ({"spec": {"template": None}}, "leave the name and the label"),
        ({"spec": {"template": {"metadata": {"labels": {"ascend.dev/run": None}}}}}, "leave the name and the label"),
    ],
)
def test_a_patch_of_the_job_is_plain_and_leaves_what_the_job_is_found_by(patch, problem):
    with pytest.raises(ConfigError, match=rf"^the argument job_patch must .*{problem}"):
        check_needs({"job_patch": patch})


def test_a_patch_of_the_job_is_taken_whole_as_a_copy(project):
    write(project, 'job_patch = { metadata = { labels = { a = "1" } }, spec = { suspend = true } }')
    patch = {"metadata": {"annotations": {"a": None}, "labels": {"x": "y"}}, "spec": {"x": (1, 2.5, True)}}
    needs = load(project, job_patch=patch).needs
    patch["spec"]["x"] = ()
    assert needs.job_patch == {
        "metadata": {"annotations": {"a": None}, "labels": {"x": "y"}},
        "spec": {"x": [1, 2.5, True]},
    }


def test_labels_are_joined_key_by_key(project):
    write(project, '[labels]\n"example.com/team" = "a"\nStage_1 = "b"')
    assert load(project, labels={"Stage_1": ""}).needs.labels == {"example.com/team": "a", "Stage_1": ""}


@pytest.mark.parametrize("call", [check_needs, lambda options: load_profile(arguments=options, environ={})])
def test_an_unknown_keyword_is_a_type_error_with_the_nearest(call):
    with pytest.raises(TypeError, match="unexpected keyword argument 'timout': did you mean 'timeout'"):
        call({"timout": 3})


def test_names_of_other_executors_are_understood(project):
    with pytest.raises(TypeError, match="'max_workers': did you mean 'max_parallel'"):
        load(project, max_workers=3)


def test_an_argument_max_parallel_below_one_is_the_value_error_of_the_standard_executors(project):
    with pytest.raises(ValueError, match=r"^max_parallel must be greater than 0, not -1$"):
        load(project, max_parallel=-1)


def test_a_max_parallel_below_one_from_elsewhere_is_a_config_error(project):
    with pytest.raises(ConfigError, match="variable ASCEND_MAX_PARALLEL must be greater than 0, not -1"):
        load(project, environ={"ASCEND_MAX_PARALLEL": "-1"})


@pytest.mark.parametrize(
    ("variable", "text", "checked"),
    [
        ("TIMEOUT", "60", 60.0), ("GPUS", "2", 2), ("CPU", "0.5", "0.5"), ("STREAM_LOGS", "Yes", True),
        ("STREAM_LOGS", "0", False), ("REQUIREMENTS", " numpy scipy>=1\t", ("numpy", "scipy>=1")),
        ("REQUIREMENTS", "torch >= 2\nscipy\n", ("torch >= 2", "scipy")), ("MEMORY", "", None),
        ("QUEUE", "team-a", "team-a"), ("ENV", "A=1", None),
    ],
)  # fmt: skip
def test_variables_are_read_as(variable, text, checked, project):
    assert getattr(load(project, environ={f"ASCEND_{variable}": text}).needs, variable.lower()) == checked


def test_wrong_variables_are_told_together(project):
    with pytest.raises(ConfigError) as caught:
        load(project, environ={"ASCEND_TIMEOUT": "soon", "ASCEND_PROGRESS": "maybe"})
    assert str(caught.value).splitlines() == [
        "the environment variable ASCEND_TIMEOUT must be a number of seconds, not 'soon'",
        "the environment variable ASCEND_PROGRESS must be 1, 0, true, false, yes or no, not 'maybe'",
    ]


def test_a_misspelt_variable_is_a_warning(project):
    with pytest.warns(UserWarning, match="ASCEND_STORGE is unknown: did you mean ASCEND_STORAGE"):
        load(project, environ={"ASCEND_STORGE": "x"})


def test_variables_of_others_are_no_matter(project):
    load(
        project, environ={"ASCEND_TASK_ID": "1", "ASCEND_WINDOW": "1", "ASCEND_DEBUG": "1", "ASCEND_TRACE_PLUGINS": "1"}
    )


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no numeric owner here")
def test_a_file_of_another_user_is_not_trusted(tmp_path):
    path = write(tmp_path, "gpus = 1")
    owner = path.stat().st_uid
    refuse_strangers(path, owner)
    if owner:
        with pytest.raises(ConfigError, match="belongs to another user"):
            refuse_strangers(path, owner + 1)
    else:
        os.chown(path, 12345, -1)
        with pytest.raises(ConfigError, match=r"belongs to another user \(uid 12345, not 0\)"):
            load(tmp_path)


def test_the_line_of_a_key_is_found_in_tables_and_not_in_strings():
    text = 'a = """\nb = 1\n"""\nb = 2\n[t."x.y"]\nb.c = 1\n'
    assert line_of(text, ("b",)) == 4
    assert line_of(text, ("t", "x.y", "b", "c")) == 6
    assert line_of(text, ("t", "x.y", "z")) == 5


def test_the_default_user_is_a_name_that_a_dns_label_takes(project, monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "Ada.Lovelace@Host")
    assert load(project).user == "ada-lovelace-host"


def test_the_module_loads_nothing_heavy():
    heavy = "{'platformdirs', 'packaging', 'difflib', 'getpass', 'click'}"
    program = f"import sys, ascend._core.config.profile; print(*{{*sys.modules}} & {heavy})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not done.stdout.strip()


def test_examples_of_all_settings_fit():
    for name, setting in SETTINGS.items():
        setting.check(tomllib.loads(f"x = {setting.example}")["x"])
        assert setting.about, name


def test_the_reference_has_every_setting_with_its_type_default_and_variable():
    rows = [line.split("|") for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
    written = {cells[1].strip(" `"): [cell.strip() for cell in cells[2:5]] for cells in rows}
    for name, setting in SETTINGS.items():
        variable = f"`ASCEND_{name.upper()}`" if setting.parse else "none"
        assert written[name] == [setting.kind, setting.default, variable]
