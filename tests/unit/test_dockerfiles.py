"""Which images a Dockerfile takes files from, as far as its text says."""

from __future__ import annotations

import pytest

from ascend.building.dockerfiles import Source, check_dockerfile, from_images, sources_of
from ascend.errors import ConfigError


def test_the_images_of_a_dockerfile_are_those_that_it_starts_from():
    text = """
    # FROM comment
    FROM --platform=linux/amd64 python:3.12 AS build
    RUN echo FROM nothing
    from scratch
    FROM build
    FROM registry.example/base
    """
    assert list(from_images(text)) == ["python:3.12", "registry.example/base"]


def test_a_step_of_several_lines_is_read_whole_and_the_body_of_a_here_document_is_none():
    text = "FROM \\\n  python:3.12 \\\n  AS one\nRUN <<END\nFROM nothing\nEND\nFROM one\n"
    assert list(from_images(text)) == ["python:3.12"]


@pytest.mark.parametrize(
    ("step", "images"),
    [
        ("COPY --from=registry.example/tools:1 /bin/uv /bin/", ["registry.example/tools:1"]),
        ("COPY --chown=0:0 --from=tools:1 /bin/uv /bin/", ["tools:1"]),
        ("COPY \\\n --from=tools:1 \\\n /bin/uv /bin/", ["tools:1"]),
        ("ONBUILD COPY --from=tools:1 /bin/uv /bin/", ["tools:1"]),
        ("RUN --mount=type=bind,from=tools:1,target=/t --network=none /t/run", ["tools:1"]),
        ('RUN --mount=from="tools:1",target=/t /t/run', ["tools:1"]),
        ("COPY --from=Build /a /b", []),
        ("COPY --from=0 /a /b", []),
        ("RUN --mount=type=cache,target=/cache pip --from=tools", []),
        ("COPY . /data", []),
    ],
)
def test_files_are_also_taken_from_images_that_steps_name(step, images):
    assert list(from_images(f"FROM python AS build\n{step}\n")) == ["python", *images]


@pytest.mark.parametrize(
    ("flag", "platform"),
    [("", ""), ("--platform=linux/arm64", "linux/arm64"), ("--platform=$BUILDPLATFORM", ""), ("--platform=arm64", "")],
)
def test_the_platform_of_an_image_is_that_of_the_build_unless_it_is_written_out(flag, platform):
    assert list(sources_of(f"FROM {flag} python")) == [Source("python", platform)]


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("FROM evil.example/python:3.12\n", "evil.example/python:3.12"),
        ("FROM \\\n evil.example/python:3.12\n", "evil.example/python:3.12"),
        ("FROM good.example/python\nFROM evil.example/python\n", "evil.example/python"),
        ("FROM good.example/python\nCOPY --from=evil.example/tools:1 /a /b\n", "evil.example/tools:1"),
        ("FROM good.example/python\nRUN --mount=from=evil.example/tools,target=/t true\n", "evil.example/tools"),
        ("# syntax=evil.example/dockerfile:1\nFROM good.example/python\n", "evil.example/dockerfile:1"),
        ("# escape=`\n#Syntax = docker/dockerfile:1\nFROM good.example/python\n", "docker/dockerfile:1"),
        ("ARG BASE\nFROM $BASE\n", r"\$BASE"),
    ],
)
def test_a_dockerfile_that_names_an_image_from_elsewhere_is_refused(text, image):
    with pytest.raises(ConfigError, match=f"{image}.* allowed registry"):
        check_dockerfile(text, ["good.example"])
    check_dockerfile(text, None)


def test_a_dockerfile_with_allowed_images_only_is_taken():
    text = "# syntax=good.example/dockerfile:1\nFROM good.example/python AS a\n"
    check_dockerfile(f"{text}# syntax=none.example/here\nCOPY --from=a /a /b\n", ["good.example"])
