"""The interactive charts of the report's page, one file each: data and layout for plotly.js, caption, alternative text.

>>> from tracking.charts.charts import draw
>>> draw(ChartData(FigureData(load_wide("alpha-r"), outcomes("alpha-r")), configurations, objectives)).charts
{'curves': Chart(...), 'seeds': ...}

Nothing here draws: `tracking/report/vendor` has the library that does. tracking/figures has the figures for papers.
"""
