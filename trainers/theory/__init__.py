"""The paper's two theorems, its formulas and the properties they rest on, checked: where they hold, and where not.

docs/theory.md has the arguments in prose, step by step.

>>> from trainers.theory.check import check
>>> [claim.name for claim in check().claims if claim.holds == "fails"]
"""
