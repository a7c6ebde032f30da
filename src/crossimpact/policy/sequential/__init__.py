"""Orders in sequence: the schedule when one trade's impact is the next trade's price."""
