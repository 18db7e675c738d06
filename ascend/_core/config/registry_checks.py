"""Checks of what names registries and images."""

from __future__ import annotations

from collections.abc import Mapping

from ascend._core.config.checks import UnfitError, check_image, check_text, check_texts, shown
from ascend.building.names import parse_image, parse_place
from ascend.errors import ConfigError


def check_place(value: object) -> str:
    text = check_text(value)
    try:
        parse_place(text)
    except ConfigError as error:
        raise UnfitError(str(error).removeprefix("registry ")) from error
    return text


def check_registries(value: object) -> tuple[str, ...]:
    texts = check_texts(value)
    for text in texts:
        if "://" in text or not ("." in text or ":" in text or text.startswith("localhost")):
            raise UnfitError(
                f"must hold registries such as 'registry.example' or 'docker.io/library', not {shown(text)}"
            )
    return texts


def check_images(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table of images by node type, not {shown(value)}")
    for node_type, image in value.items():
        if not isinstance(node_type, str):
            raise UnfitError(f"must have names of node types, not {shown(node_type)}")
        try:
            parse_image(check_image(image).replace("{python}", "3"))
        except ConfigError as error:
            raise UnfitError(f"must have images, and that of {node_type} is none: {error}") from error
    return dict(value)
