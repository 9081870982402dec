"""The records of runs, in memory and in files.

results.py       the records of a comparison and their medians
environment.py   versions and the machine
store.py         the files: runs.jsonl, and results.json, results.csv and curves for readers
resuming.py      the runs of an earlier comparison, read from its files
lock.py          the lock that allows one comparison at a time in a directory
"""
