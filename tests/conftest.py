"""Fixtures that several test files share."""

from simd_probe import probe_level, probe_libraries, run_probe  # noqa: F401
