"""What a monitor is told of a home: its numbers, and how they are served."""
