"""Pictures of the pages in docs: `python tests/pictures.py` runs the pages that draw, and keeps what they draw.

The screenshot of the page of `explain(format="html")` needs a browser, `chromium`.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from test_documents import PICTURES, ROOT, examples, run_page
from test_page import chromium

DRAWING = ("index.md", "inspecting.md")


def main() -> None:
    """Run the pages in an empty folder and copy the drawings."""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for page in DRAWING:
            assert run_page(f"docs/{page}", (ROOT / "docs" / page).read_text(encoding="utf-8")) == []
        for drawn in sorted(Path(name).glob("*.svg")):
            shutil.copy(drawn, PICTURES / drawn.name)
            print(f"docs/pictures/{drawn.name}")
        if shutil.which("chromium"):
            screenshot(Path(name))


def screenshot(folder: Path) -> None:
    """The page of the first example of inspecting.md."""
    code, _ = examples((ROOT / "docs" / "inspecting.md").read_text(encoding="utf-8"))[0]
    linecache.cache["model.py"] = (len(code.text), None, code.text.splitlines(keepends=True), "model.py")
    scope: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code.text, "model.py", "exec"), scope)
    chromium(folder, "page", scope["J"].explain(format="html"), "keep=n6")
    shutil.copy(folder / "page.png", PICTURES / "page.png")
    print("docs/pictures/page.png")


if __name__ == "__main__":
    main()
