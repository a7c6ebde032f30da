"""Data of others into the landing layout: public archives, and tables by a map."""
