"""Child orders of a desk for the next intervals: what is optimal, what is ranked, and why."""
