"""The parts of `avseg evaluate`: who predicts, with which sound, what it scores, and how that is shown."""
