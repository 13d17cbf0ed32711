"""How each kind of data reaches a network. One module a kind; so far: images."""
