"""Alerts to people: an outbox on disk, channels, quiet hours, approvals with a deputy."""
