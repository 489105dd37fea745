"""How fast, how large and how accurate metagrad's meta-gradients are, beside those of other libraries.

Run from the root of the repository: `python -m benchmarks speed | memory | estimators | scaling`, `--help` tells more.
"""
