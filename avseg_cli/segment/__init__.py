"""The main job: inputs and addresses, sampling, the model at work, rendering, batches, processes, Ray."""
