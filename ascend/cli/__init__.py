"""The ``ascend`` command: starts it, and turns errors into one line and an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from ascend.errors import AscendError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with *arguments*, or those of the process, and exit.

    The status is 0, 1 after an `AscendError`, 2 for a command that is not understood, 130 after Ctrl-C.
    With ``ASCEND_DEBUG=1`` an error comes with its traceback.
    """
    from click import Abort, ClickException  # noqa: PLC0415 - `import ascend.cli` must not load click

    from ascend.cli.group import root  # noqa: PLC0415 - as above

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = root.main(arguments, prog_name="ascend", standalone_mode=False)
    except AscendError as error:
        _give_up(f"Error: {error}", 1)
    except (Abort, KeyboardInterrupt):
        _give_up("Interrupted", _INTERRUPTED)
    except ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    # A command that ends with `ctx.exit(n)` comes back as n.
    sys.exit(status if isinstance(status, int) else 0)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    # Where in our code it was raised says nothing to who types commands.
    print(f"Warning: {message}", file=sys.stderr)


def _give_up(message: str, status: int) -> NoReturn:
    if os.environ.get("ASCEND_DEBUG", "") not in {"", "0"}:
        import traceback  # noqa: PLC0415 - for errors only

        traceback.print_exc()
    print(message, file=sys.stderr)
    sys.exit(status)
