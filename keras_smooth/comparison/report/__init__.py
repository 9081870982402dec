"""The report of a comparison, from its results: words, figures, report.md and report.html.

recommendation.py    which activation to use
findings.py          what the runs say beside that, in words and rows of a table
figures.py           figures as PNG
markdown.py          report.md
charts.py            the numbers that the charts of report.html show
page.py              report.html, of the template, style and script in page/
writing.py           all of it into a directory

Words are plain text here. Each page escapes them in its own way, since names of files, columns
and activations come from outside. page/ also holds uPlot, which draws the charts (MIT).
"""

from keras_smooth.comparison.report.recommendation import recommendation
from keras_smooth.comparison.report.writing import MARKDOWN, PAGE, write

__all__ = ["MARKDOWN", "PAGE", "recommendation", "write"]
