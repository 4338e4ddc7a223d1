"""The paper's two theorems, its formulas and the properties they rest on, checked; the arguments: docs/theory.md."""
