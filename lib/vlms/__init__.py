"""What a vision-language model is: published checkpoints of nine families, loaded, run and checked.

Knows nothing of any experiment.  Each room knows only those above it: _paths, shell, canvas,
families, machine, identity, pictures, runs, model, loading, checks.  The first line of each says
what it holds.
"""
