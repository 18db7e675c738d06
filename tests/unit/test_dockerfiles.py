"""Which images a Dockerfile takes files from, as far as its text says."""

from __future__ import annotations

import pytest

from ascend.building.dockerfiles import Source, from_images, sources_of


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
