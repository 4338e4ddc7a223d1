"""The kernels, in Triton: one idea a file, as in the lane engine.

They run compiled on a CUDA device, and under Triton's interpreter on a CPU where TRITON_INTERPRET=1 was set before
Triton was first imported. A *value* below is a tensor of shape (slots, lanes): one number for each of the block's
images (lanes) and for each of the places that are worked on side by side (slots). In the compiled kernel that is one
register of each thread; a tuple of values is so many registers.
"""
