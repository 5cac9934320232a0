"""Several MODELs of one network: what differs between them, and how one batch serves all."""
