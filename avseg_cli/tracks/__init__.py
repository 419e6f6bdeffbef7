"""Sources told apart: pieces of masks become tracks, each with a number it keeps and a name where one is known."""
