"""Where partitions live: settings, warehouse, landing zone, code digests."""
