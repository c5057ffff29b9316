"""Walkthroughs that train, prune, export and measure a model from start to end."""
