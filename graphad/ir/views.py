"""How graphs and plans show themselves: functions by name.

Neither knows anything about drawing: `graphad.report.views` fills the table when graphad is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

VIEWS: dict[str, Callable[..., Any]] = {}


def view(name: str, *args: Any) -> Any:
    """What the view called `name` answers."""
    return VIEWS[name](*args)
