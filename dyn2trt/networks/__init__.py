"""Networks, a family per file.

To add one: decorate its builder with `dyn2trt.networks.registry.network`, run ``python -m dyn2trt.networks.table``, and
test it. The listing, the options and the recipes follow.
"""
