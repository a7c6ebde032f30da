"""Modules that a library imports for parts of it that nobody here uses: imported at first use.

`importlib.util.LazyLoader` is of no help: a second import statement loads it (Python 3.11).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until one of its names is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks is not worth the module
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """While it is on, importing these modules gives a stand-in; afterwards the modules themselves.

    A module that is imported already, or is not installed, is left as it is.
    """
    stand_ins = {name: _Deferred(name) for name in names if name not in sys.modules}
    for name, module in stand_ins.items():
        module.__spec__ = find_spec(name)
    known = {name: module for name, module in stand_ins.items() if module.__spec__}
    sys.modules.update(known)
    try:
        yield
    finally:
        for name, module in known.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
