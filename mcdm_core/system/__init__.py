"""Writing files, locking folders, names of files, devices, and failures that are not bugs."""
