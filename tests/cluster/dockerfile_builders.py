"""What every builder of Dockerfiles does on a real cluster: one class, inherited by the tests of each."""

from __future__ import annotations

import io
import os
import sys
import tarfile

import pytest

from ascend._builtin.object_store import ObjectStorage
from ascend._core.config.profile import load_profile
from ascend._core.manifest import image_of
from ascend._core.plugins.asking import Plugins
from ascend.errors import BuildOutOfMemoryError, BuildStartError, ImageBuildError, RegistryReadOnlyError
from ascend.model import Environment
from ascend.testing import ImageBuilderContract
from tests.cluster.test_environments import FILES, by_value, netrc_secret
from tests.package_index import wheel
from tests.testcluster.namespaces import temporary_build_namespace

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
_FILES = 200
_BACKEND = """
import pathlib, shutil

def build_wheel(folder, settings=None, metadata=None):
    (made,) = pathlib.Path(__file__).parent.glob("*.whl")
    shutil.copy(made, folder)
    return made.name
"""


@by_value
def look_into_the_image():
    from importlib.metadata import version
    from pathlib import Path

    import tiny_base  # type: ignore[import-not-found]

    return tiny_base.answer, version("tiny-base"), sorted(map(str, Path("/run").rglob("netrc")))


@by_value
def count():
    from pathlib import Path

    return len([path for path in Path("/data").rglob("*") if path.is_file()]), Path("/data/deep/9/file").read_text()


@by_value
def tree():
    import subprocess

    return subprocess.run(["tree", "--version"], capture_output=True, text=True, check=True).stdout


def packed(files, mode="w"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


class Setting:
    """Where a user of a builder stands; a class for it says *name*, the *level* of its namespace, and ``table``."""

    name: str
    level: str

    @pytest.fixture
    def table(self):
        """Return the settings of the plugin, for a cluster that gets no images from elsewhere."""
        raise NotImplementedError

    @pytest.fixture
    def write(self, table, tmp_path):
        """Return a function that writes the settings of the user's project."""

        def write(**build):
            tables = {"build": {"keep": 5, **build}, self.name: table}
            lines = [f"[plugins.{name}]\n{_lines(values)}" for name, values in tables.items()]
            (tmp_path / "home" / "project" / "ascend.toml").write_text("\n".join(lines))

        return write

    @pytest.fixture
    def build_namespace(self, testcluster, kubernetes, monkeypatch):
        with temporary_build_namespace(testcluster, kubernetes, self.level) as name:
            monkeypatch.setenv("ASCEND_BUILD_NAMESPACE", name)
            yield name

    @pytest.fixture
    def make_builder(self, place, write, build_namespace):
        """Return a function that makes builders as an executor does."""
        write()

        def make(**settings):
            profile = load_profile(arguments=settings)
            storage = ObjectStorage(profile.storage) if profile.storage else None
            return Plugins.load(profile).image_builder(self.name, profile, storage)

        return make

    @pytest.fixture
    def environment(self):
        """Return a function that makes environments on the stock image of this Python."""
        base = image_of(os.environ["ASCEND_BASE_IMAGE"])

        def make(*requirements, **more):
            return Environment(requirements, PYTHON, **{"base_image": base, **more})

        return make


class KeepsTheContract(Setting, ImageBuilderContract):
    """The contract of all builders; inherit from this and from the setting."""

    @pytest.fixture
    def builder(self, make_builder, index, monkeypatch):
        monkeypatch.setenv("ASCEND_INDEX_URLS", index.url)
        return make_builder()

    @pytest.fixture
    def possible(self, environment):
        return environment("tiny-base")

    @pytest.fixture
    def impossible(self, environment):
        return environment("ascend-contract==0", "ascend-contract==1")


class BuildsDockerfiles(Setting):
    """What the others cannot do, besides `tests.cluster.test_four_ways`; inherit from this and from the setting."""

    def test_what_needs_a_password_is_in_no_layer(
        self, make_executor, make_builder, index, build_namespace, kubernetes
    ):
        index.password = "sesame"
        netrc_secret(kubernetes, "packages", index, "sesame")
        kubernetes.admin.create("secrets", _copy(kubernetes, "packages"), build_namespace)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UV_DEFAULT_INDEX", index.url.replace("//", "//ada:sesame@"))
            executor = make_executor(requirements=["tiny-base"], index_secret="packages", image_builder=self.name)
            assert executor.submit(look_into_the_image).result(timeout=120) == (42, "1.0", [])

    def test_what_is_there_only_as_source_is_built(self, make_builder, index, environment, monkeypatch, make_executor):
        monkeypatch.setenv("ASCEND_INDEX_URLS", index.url)
        name, content = wheel("tiny-base", "2.0", FILES)
        project = (
            '[project]\nname = "tiny-base"\nversion = "2.0"\n'
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        metadata = "Metadata-Version: 2.2\nName: tiny-base\nVersion: 2.0\n"
        files = {"pyproject.toml": project.encode(), "backend.py": _BACKEND.encode(), name: content}
        sdist = {f"tiny_base-2.0/{path}": data for path, data in {**files, "PKG-INFO": metadata.encode()}.items()}
        index.files["tiny-base"]["tiny_base-2.0.tar.gz"] = packed(sdist, "w:gz")
        executor = make_executor(requirements=["tiny-base>=2"], image_builder=self.name)
        assert executor.submit(look_into_the_image).result(timeout=120) == (42, "2.0", [])

    @pytest.mark.usefixtures("make_builder")
    def test_a_dockerfile_with_two_hundred_files(self, environment, make_executor, tmp_path):
        folder, base = tmp_path / "home" / "project" / "image", environment().base_image
        for number in range(_FILES):
            (folder / "deep" / str(number)).mkdir(parents=True)
            (folder / "deep" / str(number) / "file").write_text(str(number))
        (folder / "left-out").write_bytes(bytes(10_000))
        (folder / ".dockerignore").write_text("left-out\n.dockerignore\nDockerfile\n")
        text = f"FROM {base} AS first\nCOPY . /data\nFROM {base}\nCOPY --from=first /data /data\n"
        (folder / "Dockerfile").write_text(text)
        executor = make_executor(dockerfile="image/Dockerfile", image_builder=self.name)
        assert executor.submit(count).result(timeout=100) == (_FILES, "9")

    def test_a_context_that_fits_into_no_secret_comes_by_the_storage(
        self, make_builder, environment, make_executor, bucket
    ):
        files = {"deep/9/file": b"nine", "noise": os.urandom(1_500_000)}
        dockerfile = f"FROM {environment().base_image}\nCOPY . /data\n"
        wanted = environment(dockerfile=dockerfile, context=packed(files))
        image = make_builder(storage=bucket).ensure(wanted, print)
        assert make_executor(base_image=image.reference).submit(count).result(timeout=60) == (2, "nine")

    def test_a_context_that_no_image_can_fetch_is_told_at_once(self, make_builder, environment, bucket):
        files = {"noise": os.urandom(1_500_000)}
        dockerfile = f"FROM {environment().base_image}\nCOPY . /data\n"
        wanted = environment(dockerfile=dockerfile, context=packed(files), base_image="registry.invalid/never:1")
        with pytest.raises(BuildStartError, match="base_image"):
            make_builder(storage=bucket).ensure(wanted, print)

    @pytest.mark.usefixtures("make_builder")
    def test_a_context_that_cannot_be_fetched_shows_why(self, environment, bucket):
        profile = load_profile(arguments={"storage": bucket})
        builder = Plugins.load(profile).image_builder(self.name, profile, _Forgetful(bucket))
        dockerfile = f"FROM {environment().base_image}\nCOPY . /data\n"
        wanted = environment(dockerfile=dockerfile, context=packed({"noise": os.urandom(1_500_000)}))
        with pytest.raises(ImageBuildError, match="its init container 'fetch' failed") as caught:
            builder.ensure(wanted, print)
        assert any("HTTP Error 40" in line for line in caught.value.lines)

    def test_a_dockerfile_with_an_error_in_its_fifth_line(self, make_builder, environment):
        dockerfile = (
            f"FROM {environment().base_image}\nENV A=1\n\n# it fails\nRUN echo so far && \\\n    exit 7\nRUN true\n"
        )
        with pytest.raises(ImageBuildError) as caught:
            make_builder().ensure(environment(dockerfile=dockerfile), print)
        assert caught.value.step == "line 5: RUN echo so far && exit 7"
        assert caught.value.dockerfile == dockerfile
        assert any("so far" in line for line in caught.value.lines)
        assert "    5 RUN echo so far" in str(caught.value)

    @pytest.mark.network
    @pytest.mark.usefixtures("make_builder")
    def test_packages_of_the_distribution(self, make_executor, debian_image):
        executor = make_executor(apt=["tree"], base_image=debian_image, image_builder=self.name)
        assert "tree v" in executor.submit(tree).result(timeout=100)

    @pytest.mark.network
    def test_a_package_that_the_distribution_does_not_have(self, make_builder, environment, debian_image):
        with pytest.raises(ImageBuildError, match="Unable to locate package no-such-package") as caught:
            make_builder().ensure(environment(apt=("no-such-package",), base_image=debian_image), print)
        assert caught.value.step.startswith("line 3: RUN apt-get update && ")

    def test_a_base_image_of_another_python_says_so(self, make_builder, environment):
        lock = f"tiny-base==1.0 --hash=sha256:{'0' * 64}\n"
        with pytest.raises(ImageBuildError, match=rf"the image has Python {PYTHON}, and the task needs 3\.99"):
            make_builder().ensure(Environment((), "3.99", environment().base_image, lock), print)

    def test_a_build_that_needs_more_memory_than_it_may_use(self, make_builder, environment, write):
        write(memory="300Mi")
        dockerfile = f'FROM {environment().base_image}\nRUN python -c "bytearray(600 << 20)"\n'
        with pytest.raises(BuildOutOfMemoryError, match="raise memory in") as caught:
            make_builder().ensure(environment(dockerfile=dockerfile), print)
        assert caught.value.step == 'line 2: RUN python -c "bytearray(600 << 20)"'

    def test_a_namespace_that_forbids_it_is_named_with_the_remedy(self, make_builder, environment, monkeypatch):
        builder = make_builder()
        monkeypatch.delenv("ASCEND_BUILD_NAMESPACE")
        builder = make_builder()
        with pytest.raises(BuildStartError, match="set build_namespace to one that admits this builder"):
            builder.ensure(environment(apt=("git",)), print)

    def test_a_registry_that_is_read_only(self, make_builder, environment, write, place, other_registry):
        other_registry(storage={"maintenance": {"readonly": {"enabled": True}}})
        write(plain_registries=[place.registry])
        dockerfile = f"FROM {environment().base_image}\nENV A=1\n"
        with pytest.raises(ImageBuildError) as caught:
            make_builder().ensure(environment(dockerfile=dockerfile), print)
        assert type(caught.value.__cause__) is RegistryReadOnlyError

    def test_steps_are_kept_in_the_registry_for_other_builds(self, make_builder, environment):
        first = f"FROM {environment().base_image}\nRUN echo ran-$((1 + 1)) | tee /first\n"
        said = [[], []]
        for dockerfile, lines in zip((first, f"{first}RUN echo ran-$((1 + 2))\n"), said, strict=True):
            make_builder().ensure(environment(dockerfile=dockerfile), lines.append)
        ran = [[line.split()[-1] for line in lines if line.endswith(("ran-2", "ran-3"))] for lines in said]
        assert ran == [["ran-2"], ["ran-3"]]


def _lines(values):
    return "".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n" for name, value in values.items()
    )


class _Forgetful(ObjectStorage):
    """A storage whose links lead to what is not there."""

    def sign(self, key, *arguments, **options):
        return super().sign(f"{key}-gone", *arguments, **options)


def _copy(namespace, name):
    secret = namespace.admin.get("secrets", name, namespace.name)
    return {"metadata": {"name": name}, "data": secret["data"]}
