"""The loop of a sweep: packs out, reports into the ledger, signals, locks, and its end."""
