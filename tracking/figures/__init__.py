"""The figures of a sweep, one kind a module; `tracking.figures.album` knows which of them apply.

    >>> from tracking.figures.paper import paper_figure
    >>> from tracking.figures.style import write
    >>> write(paper_figure(load("figure-1")), Path("figure-1.svg"))

Each is a function of the tidy table that returns a matplotlib `Figure` of no window and no global state, or raises
`NotDrawn`, which says in words why the figure does not apply.
"""
