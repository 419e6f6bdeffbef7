"""The parts of `avseg train`: options and recipes, what each stage trains and on what, the loop, the run folder."""
