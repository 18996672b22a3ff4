"""All mistakes that docs/errors.md lists, in its order; `python tests/error_cases.py` writes the page."""

from __future__ import annotations

import error_cases_building
import error_cases_calling
import error_cases_inspecting
import error_cases_loops
import error_cases_memory
import error_cases_sparse
from error_page import CASES, PAGE, page

# The order of the page is that of these modules, whatever the order of their imports.
_MODULES = [
    m.__name__
    for m in (
        error_cases_calling,
        error_cases_building,
        error_cases_loops,
        error_cases_inspecting,
        error_cases_sparse,
        error_cases_memory,
    )
]
CASES.sort(key=lambda c: _MODULES.index(c.make.__module__))

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(CASES)} messages")
