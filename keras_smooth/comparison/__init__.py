"""The comparison of activations: a network is trained with each, and y, y', y'' are measured.

options.py       the options of a comparison, each listed once
settings.py      validates the options, and lists the runs of a comparison
problems/        the problems to learn: functions with exact derivatives, data, user functions
runs/            one network: build it, train it from a seed, measure y, y', y''
executors/       where runs are executed: this process, worker processes, Ray
records/         the finished runs, their medians and files; resuming
report/          report.html, report.md and figures
article.py       the results of the article from which the experiment comes
termination.py   SIGTERM as an exception
display.py       the live display in a terminal
comparing.py     `compare`, which uses all of these

Data flows in one direction. `Settings` are the validated options and list the runs by their
`RunId`. An `Experiment` executes a run, in a process of the executor, and returns its `Record`.
`Results` has all records, and the report is written from them. Nothing is imported here, so that
the command line can read the options without TensorFlow.
"""
