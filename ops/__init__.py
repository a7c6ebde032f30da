"""Running the platform on one machine: the demo, and the long-running form."""
