"""Orders in sequence: problem files, order files, answers."""
