"""Schedules and wiring; the work is in `pipelines`."""
