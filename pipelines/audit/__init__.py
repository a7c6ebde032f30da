"""What was judged, when and by which rules: the ledger of audits, and answers from it."""
