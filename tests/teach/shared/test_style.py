"""The colours of the canvas of weight matrices."""

import numpy as np

from lliptools.teach.shared.style import canvas_colors


def test_light_and_dark_are_told_apart_by_lightness():
    def grey(color):
        return np.dot([int(color[k : k + 2], 16) for k in (1, 3, 5)], (0.3, 0.59, 0.11))

    light, dark = canvas_colors()
    assert (np.diff([grey(color) for color in light["weights"]]) > 20).all()
    assert grey(light["masked"]) > 200 > 60 > grey(dark["masked"])
