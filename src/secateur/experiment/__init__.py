"""A study: settings, the task, its points, the sweep over them, the store of rows, the run that is read back."""
