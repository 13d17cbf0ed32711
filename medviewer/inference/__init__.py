"""Model folder in, answer out: cards, safe loading, guards, and the engine that runs networks in its own process.

Nothing here imports a runtime when it is imported: the window opens without one.
"""
