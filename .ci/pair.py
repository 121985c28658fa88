"""Writes left.png and right.png, random texture that is shifted by 8 px."""

import cv2
import numpy as np

wide = np.random.default_rng(0).integers(0, 256, (120, 208, 3), np.uint8)
cv2.imwrite('left.png', wide[:, :200])
cv2.imwrite('right.png', wide[:, 8:])
