"""Comparison: does every backend compute what the network in torch computes?

Gate decisions come first and apart from numbers. `gates` and `metrics` measure, `verdict` judges, the runners
execute through Polygraphy, `bisect` names the first block that diverges, and `comparison` puts them together.
Importing this package imports none of them.
"""
