"""Ports in memory, driven by a `ManualClock`; `tests/adapters` keeps them honest."""
