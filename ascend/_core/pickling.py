"""The built-in serializer where a task runs: without `pickle` and `cloudpickle` as long as that is enough.

Those two import half of the standard library. Stock images come without bytecode, and the file system of a pod is
read-only: every task would compile all that anew, for a quarter of a second. C's `_pickle` and six small functions do
for functions that travel by value; whatever else a pickle asks of cloudpickle is taken from cloudpickle itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CellType, CodeType, FunctionType
    from typing import Any

__all__ = ["LightCloudpickle"]

_MODULE = "cloudpickle.cloudpickle"
# What the functions below must do may change with any other.
_KNOWN = "3.1."


class LightCloudpickle:
    """Reads what the *version* of cloudpickle at the client has pickled."""

    def __init__(self, version: str) -> None:
        self._light = _LIGHT if version.startswith(_KNOWN) else {}

    def loads(self, data: Any, buffers: Sequence[Any]) -> Any:
        import _pickle  # noqa: PLC0415 - here and below: a task pays for what it needs
        import io  # noqa: PLC0415

        light = self._light

        class Unpickler(_pickle.Unpickler):
            def find_class(self, module: str, name: str, /) -> Any:
                if module == _MODULE and name in light:
                    return light[name]
                return super().find_class(module, name)

        return Unpickler(io.BytesIO(data), buffers=buffers).load()

    def dumps(self, value: Any, buffer_callback: Any) -> bytes:
        import _pickle  # noqa: PLC0415

        buffers: list[Any] = []
        try:
            data: bytes = _pickle.dumps(value, 5, buffer_callback=buffer_callback and buffers.append)
        except Exception:  # noqa: BLE001 - any failure of plain pickle is cloudpickle's turn, which raises its own
            import cloudpickle  # noqa: PLC0415

            buffers.clear()
            data = cloudpickle.dumps(value, 5, buffer_callback=buffer_callback and buffers.append)
        for buffer in buffers:
            buffer_callback(buffer)
        return data


def _make_function(code: CodeType, namespace: dict[str, Any], name: str, defaults: Any, closure: Any) -> FunctionType:
    import types  # noqa: PLC0415 - _pickle has imported it

    namespace["__builtins__"] = __builtins__
    return types.FunctionType(code, namespace, name, defaults, closure)


def _set_function_state(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    own, slots = state
    function.__dict__.update(own)
    # The submodules were imported when they were unpickled, and that is all that they are there for.
    del slots["_cloudpickle_submodules"]
    function.__globals__.update(slots.pop("__globals__"), __builtins__=__builtins__)
    for mine, theirs in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        try:
            mine.cell_contents = theirs.cell_contents
        except ValueError:
            # Neither has anything in it yet.
            continue
    for name, value in slots.items():
        setattr(function, name, value)


def _make_cell(*content: Any) -> CellType:
    import types  # noqa: PLC0415

    return types.CellType(*content)


def _builtin_type(name: str) -> Any:
    import types  # noqa: PLC0415

    return getattr(types, name)


def _import_module(name: str) -> Any:
    __import__(name)
    return sys.modules[name]


_LIGHT = {
    "_builtin_type": _builtin_type,
    "_function_setstate": _set_function_state,
    "_make_cell": _make_cell,
    "_make_empty_cell": _make_cell,
    "_make_function": _make_function,
    "subimport": _import_module,
}
