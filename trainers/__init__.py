"""The science: activations, regimes, penalties, data, gradients, engines.

Runs where only torch, torchvision and numpy are installed; nothing heavy is imported until it is used.
"""
