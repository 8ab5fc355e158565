"""Fixtures that several test files share, and hypothesis' profiles: HYPOTHESIS_PROFILE=nightly draws many more."""

import os

from hypothesis import HealthCheck, settings
from simd_probe import probe_level, probe_libraries, run_probe  # noqa: F401

SLOW = [HealthCheck.too_slow]
settings.register_profile("default", deadline=None, suppress_health_check=SLOW)
settings.register_profile("nightly", deadline=None, max_examples=2000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Fresh processes that tests start import the installed package too, not the sources of the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"
