"""What a run will ask of its experts at every noise level, planned and checked before the first network is called."""
