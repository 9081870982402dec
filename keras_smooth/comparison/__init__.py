"""The activation comparison: settings and a problem in, runs through executors, a report out.

options.py       the options of a comparison, each listed once
settings.py      their validation, and the runs that they ask for
problems/        what is learned: functions with exact derivatives, data, functions of the user
runs/            one network: build, train from a seed, measure y, y', y''
executors/       where runs are executed: this process, worker processes, Ray
records/         the finished runs, their medians and files; resuming
report/          report.html, report.md and figures
article.py       the numbers and the open question of the article
termination.py   SIGTERM as an exception
display.py       the live display in a terminal
comparing.py     `compare`, which uses all of these

Data flows in one direction: `Settings`, the validated options, list the runs by their `RunId`.
An `Experiment` makes a `Record` of each, in a process of the executor. `Results` are all records,
and the report is made of them. Nothing is imported here: the command line reads the options
without TensorFlow.
"""
