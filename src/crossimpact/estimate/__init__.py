"""Estimation: from a panel of buckets to an admissible impact model."""
