"""Readers of image files as they are distributed: each finds its files, and decodes them class after class."""
