"""What the model looks at: the maps, the instants they belong to, a picture and a video of them."""
