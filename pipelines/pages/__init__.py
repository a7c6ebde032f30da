"""Pages, cards and figures."""
