import numpy as np
import shm_protocol

with shm_protocol.connect(wait=10) as node:
    print(node.call("image.histogram", np.linspace(0, 1, 1001), 4))

    # Three bytes a pixel: an array of height, width and colours.
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, :, 0] = 255
    pixels[1, 1] = 255
    grey = node.call("image.grey", pixels)
    print(grey, grey.dtype)

    # What is not in one piece, such as every second column, is copied into one when it is sent.
    print(node.call("image.grey", pixels[:, ::2]))
