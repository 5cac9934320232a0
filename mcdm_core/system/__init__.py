"""Where the operating system has a say: writing files, locking folders, names and devices, and what fails there."""
