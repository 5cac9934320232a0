"""Damaged, mistaken and hostile expert files by the thousand, from a seed, and what becomes of each.

Tests also have hypothesis draw such files (`drawn`), and command lines and configurations (`command_lines`).

python -m tests.fuzz --files 1000 --seed 0      counts by outcome, of headers and of pickles
python -m tests.fuzz --keep out                 the files that came out badly, to look at
"""
