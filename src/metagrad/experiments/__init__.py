"""Experiments: complete configurations, presets, runs of them, comparisons of estimators, figures and tables."""
