"""A live session as a pure machine: events in, decisions out; no I/O, no clock, no randomness."""
