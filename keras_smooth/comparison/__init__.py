"""The activation comparison: settings and a problem in, runs through executors, a report out.

settings.py      what is asked, checked before anything runs
exact_problems.py  the table of functions with exact derivatives
problems.py      one of them by name, or data or a function of the user
columns.py       the columns of a text file
experiment.py    one network: build, train from a seed, measure y, y', y''
training.py      the training of one network, by fit_lbfgs or by Adam
learning.py      its loss and errors while it trains
tasks.py         what is left to run, and what is heard of it meanwhile
executors/       where tasks run: this process, worker processes
results.py       the finished runs and their medians
lock.py          one comparison at a time in a directory
schema.py        what results.json must look like, by results.schema.json
files.py         results.json, results.csv and curves
journal.py       what has ended since they were written
resuming.py      the same read and checked, to go on with
article.py       the numbers and the open question of the article
report/          report.html, report.md and figures
termination.py   SIGTERM as an exception
display.py       the live display in a terminal
comparing.py     `compare`, which leads through all of these

`compare` makes `Settings` and a `Problem` once. Both go into an `Experiment`, which an
executor carries to where each `Task` runs. What it hears, `Progress` and `Finished`, comes back
to `compare`, which keeps every `Outcome` in `Results` and in files, and then writes the report.
"""

from keras_smooth.comparison.comparing import Comparison, compare

__all__ = ["Comparison", "compare"]
