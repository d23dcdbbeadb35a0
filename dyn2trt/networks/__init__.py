"""The networks that dyn2trt knows, and how to name a user's own. Start at `dyn2trt.networks.zoo`."""
