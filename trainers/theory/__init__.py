"""The paper's two theorems, checked; and of wide random networks, signal propagation and being born dead.

The arguments are in docs/theory.md.
"""
