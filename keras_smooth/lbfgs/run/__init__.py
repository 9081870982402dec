"""The run of one fit: its compiled program, its iterations and its checkpoints.

program.py             objective and minimizer, compiled once for each model
fit_problem.py         a model and its data, in the form that a minimizer needs
optimization_run.py    iterations, restarts and the result
checkpoint.py          checkpoint files, and how a fit continues from one
atomic_files.py        writing files atomically
"""
