"""The release format, its gates, and the hash-chained ledger of promotions; no MLflow."""
