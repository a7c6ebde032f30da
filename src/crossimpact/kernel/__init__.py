"""Decay kernels of price impact: what is left of a push after a time, one module a family."""
