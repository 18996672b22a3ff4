"""Settings of all tests."""

import os

from hypothesis import settings

# A change must not land or fail by chance: in CI random graphs are the same each time, at developers' desks new ones.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
