"""What networks are trained on: data sets, losses and scores. Start at `dyn2trt.tasks.task`."""
