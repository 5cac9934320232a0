"""Damaged, mistaken and hostile expert files, and what becomes of each.

Tests have hypothesis draw such files (`drawn`), and command lines and configurations (`command_lines`); nodes are
given files of a seed:

python -m tests.fuzz --write out --files 1000 --seed 0
"""
