"""Checks of single values: each returns the value in its own form or raises `UnfitError`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ascend.model import Secret

_CPU = re.compile(r"\d+(\.\d{1,3})?|\d+m")
_MEMORY = re.compile(r"\d+(\.\d+)?([KMGTPE]i|[kMGTPE])")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class UnfitError(ValueError):
    """A value that a setting does not take; the message goes on from the setting's name."""


def shown(value: object) -> str:
    """Return *value* for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - about a line


def label_of(text: str) -> str:
    """Return *text* as a part of storage keys and DNS names: small letters, digits and dashes; perhaps empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:63].strip("-")


def check_text(value: object) -> str:
    if not isinstance(value, str):
        raise UnfitError(f"must be a string, not {shown(value)}")
    if not value.strip():
        raise UnfitError("must not be empty")
    return value


def check_label(value: object) -> str:
    text = check_text(value)
    if not _LABEL.fullmatch(text):
        hint = f", such as {label_of(text)!r}" if label_of(text) else ""
        raise UnfitError(f"must be at most 63 small letters, digits and inner dashes{hint}, not {shown(text)}")
    return text


def check_cpu(value: object) -> str:
    text = f"{value}" if _is_number(value) else value
    if not isinstance(text, str) or not _CPU.fullmatch(text) or float(text.removesuffix("m")) == 0:
        raise UnfitError(f"must be CPUs such as '2', '0.5' or '500m', not {shown(value)}")
    return text


def check_memory(value: object) -> str:
    if not isinstance(value, str) or not _MEMORY.fullmatch(value):
        raise UnfitError(f"must be a size with its unit such as '512Mi' or '4Gi', not {shown(value)}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_seconds(value: object) -> float:
    if not isinstance(value, int | float) or not _is_number(value):
        raise UnfitError(f"must be a number of seconds, not {shown(value)}")
    if not (value > 0 and math.isfinite(value)):
        raise UnfitError(f"must be greater than 0 seconds, not {shown(value)}")
    return float(value)


def check_count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnfitError(f"must be a whole number, not {shown(value)}")
    if value < 0:
        raise UnfitError(f"must be 0 or more, not {value}")
    return value


def check_positive(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnfitError(f"must be a whole number, not {shown(value)}")
    if value <= 0:
        raise UnfitError(f"must be greater than 0, not {value}")
    return value


def check_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnfitError(f"must be true or false, not {shown(value)}")
    return value


def check_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        raise UnfitError(f"must be a list of strings, not {shown(value)}")
    return tuple(value)


def check_requirements(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) and value.strip() else value
    texts = tuple(text.strip() for text in check_texts(given))
    if texts:
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - few calls have any

        from ascend._core.requirement_files import AUTO, is_file  # noqa: PLC0415 - the same
        from ascend.building.locks import credentials_in  # noqa: PLC0415 - the same

        for text in texts:
            if text == AUTO or is_file(text):
                continue
            try:
                wrong = credentials_in(Requirement(text))
            except InvalidRequirement as error:
                problem = str(error).splitlines()[0]
                raise UnfitError(f"must hold requirements such as 'torch==2.6.0', not {text!r}: {problem}") from error
            if wrong:
                raise UnfitError(f"must hold no credentials: {wrong}")
    return texts


def check_platform(value: object) -> str:
    if value not in ("linux/amd64", "linux/arm64"):
        raise UnfitError(f"must be 'linux/amd64' or 'linux/arm64', not {shown(value)}")
    return str(value)


def check_urls(value: object) -> tuple[str, ...]:
    texts = check_texts(value)
    for text in texts:
        url = urlsplit(text)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise UnfitError(f"must hold URLs such as 'https://packages.example/simple', not {text!r}")
        if url.username is not None:
            # They would be read by everybody who may read Jobs.
            raise UnfitError(f"must hold no credentials, as the URL of {url.hostname} does: name them by index_secret")
    return texts


def check_image(value: object) -> str:
    text = check_text(value)
    if re.search(r"[{}]", text.replace("{python}", "")):
        raise UnfitError(f"must have no braces but those of {{python}}, this Python's minor version, not {shown(text)}")
    return text


def check_variables(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table of strings, not {shown(value)}")
    for name, text in value.items():
        _check_variable(name)
        if not isinstance(text, str):
            raise UnfitError(f"must have strings as values, and {name} is {shown(text)}")
    return dict(value)


def _check_variable(name: object) -> None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise UnfitError(f"must have names of variables, not {shown(name)}")


def check_secrets(value: object) -> dict[str, Secret]:
    if not isinstance(value, Mapping):
        raise UnfitError(f"must be a table of secrets, not {shown(value)}")
    for name in value:
        _check_variable(name)
    return {name: _secret(name, each) for name, each in value.items()}


def _secret(name: str, value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, Mapping) and set(value) == {"name", "key"} and all(isinstance(v, str) for v in value.values()):
        return Secret(**value)
    # What stands there may be the secret itself, so it is not repeated.
    raise UnfitError(f'must name a key of a Kubernetes Secret, as in {name} = {{name = "tokens", key = "token"}}')


def parse_number(text: str) -> object:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def parse_flag(text: str) -> object:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise UnfitError(f"must be 1, 0, true, false, yes or no, not {shown(text)}") from None


def parse_list(text: str) -> object:
    text = text.strip()
    # A requirement may have blanks in it: then they stand on a line each.
    return text.splitlines() if "\n" in text else text.split()
