"""The figures of a sweep, one file each: title, caption, drawing and alternative text (`tracking.figures.album`).

>>> from tracking.figures.album import draw
>>> draw(load("alpha-r"), outcomes("alpha-r"), [("validation.accuracy", "maximize")], axes).pictures
{'accuracy-and-gradients': Drawing(...), 'seeds': ...}
"""
