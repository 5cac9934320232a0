"""What tests of core, studies and nodes share: small networks, runs and references."""
