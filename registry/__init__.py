"""Releases as plain files, their versions in MLflow, the gates and the ledger of promotions."""
