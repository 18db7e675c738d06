"""Makes ``python -m ascend`` the same as the ``ascend`` command."""

from __future__ import annotations

from ascend.cli import main

if __name__ == "__main__":
    main()
