"""One device's part in training a model across a fleet: its stage, its links, its schedule.

Standard library and torch only, as all of the worker. `schedule` is pure Python, and the simulator runs it too.
"""
