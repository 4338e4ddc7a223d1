"""Claims, the statistics that decide them, and the words that say so."""
