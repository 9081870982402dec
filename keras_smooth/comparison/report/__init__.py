"""The report of a comparison: text, figures, tables, report.md and report.html.

recommendation.py    which activation to use, and whether the seeds are enough
seeds.py             a test of whether seeds distinguish two activations
findings.py          other findings, as text and rows of tables
figures.py           figures as PNG
charts.py            the numbers that the charts of report.html show
pages.py             report.html, report.md and tables, from templates, style and script in page/
writing.py           writes all of these into a directory

Sentences are plain text here. Each page escapes them in its own way, since names of files, columns
and activations come from the user. page/ also holds uPlot, which draws the charts (MIT).
"""

from keras_smooth.comparison.report.recommendation import recommended, sentences
from keras_smooth.comparison.report.writing import MARKDOWN, PAGE, write
