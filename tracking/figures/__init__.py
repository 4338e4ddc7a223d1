"""The figures of a sweep, one file each: title, caption, drawing and alternative text (`tracking.figures.kind`).

>>> from tracking.figures.album import draw
>>> draw(load("alpha-r"), outcomes("alpha-r"), [("validation.accuracy", "maximize")], searched).figures
{'accuracy-and-gradients': <Figure size 500x625 with 3 Axes>, 'seeds': ...}
"""
