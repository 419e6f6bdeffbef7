"""How fast the model is, against code that computes the same."""
