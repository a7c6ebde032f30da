"""What other policies would have done with a day's orders, and what that would have cost."""
