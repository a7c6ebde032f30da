"""Tests of the ledger of audits and of what is answered from it."""
