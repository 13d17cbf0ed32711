"""Answer -> why: one method a file, how far each map can be believed, and its place on the image.

Nothing here loads a network runtime: everything goes through ``Engine.run``. ``randomise`` alone takes a network file
apart, and only when a whole model is assessed.
"""
