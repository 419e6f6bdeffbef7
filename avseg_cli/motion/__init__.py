"""Between the instants at which the model looks: what it found there follows the picture."""
