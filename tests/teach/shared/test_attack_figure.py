"""An attack is drawn as it was: both inputs, their difference and its length, and both answers."""

import torch

from lliptools.teach.shared.attack_figure import attack


def test_it_says_who_wins_and_how_long_the_move_is():
    x, other = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 1.0])
    figure = attack(lambda points: points[:, [0, 3]], x, other)
    titles = [text.text for text in figure.layout.annotations if text.name == "title"]
    assert titles == ["<b>x: 0 wins</b>", "<b>x′: 1 wins</b>", "<b>x′ − x, length 1.41</b>", "<b>logits</b>"]
    assert [picture.z.tolist() for picture in figure.data[:3]] == [
        [[1, 0], [0, 0]],
        [[0, 0], [0, 1]],
        [[-1, 0], [0, 1]],
    ]
    assert [bars.y.tolist() for bars in figure.data[3:]] == [[1, 0], [0, 1]]
