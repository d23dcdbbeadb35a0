"""The networks that dyn2trt knows, and how to name a user's own. Start at `dyn2trt.networks.zoo`.

To add one: decorate its builder with `dyn2trt.networks.registry.network`, run ``python -m dyn2trt.networks.table``, and
test it. The listing, the options and the recipes follow.
"""
