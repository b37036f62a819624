"""The self-test of notebook 00."""

from lliptools.teach.checks.questions import Question, Questions

__all__ = ["self_test"]

self_test = Questions(
    "self_test",
    (
        Question("norm", 4.0, "‖diag(3, −4)‖: read section A (norms) below"),
        Question("lipschitz", 6.0, "the Lipschitz constant of 2·|3t|: read section B (Lipschitz constants) below"),
        Question("relu", 0.0, "how much relu(z) changes while z moves from −2 to −1: read section C (ReLU) below"),
        Question("margin", 0.5, "the margin of label 0 under logits (2, 0.5, 1.5): read section D (margins) below"),
        Question("rows", 128.0, "the rows of torch.nn.Linear(64, 128).weight: read section E (shapes) below"),
    ),
    ("Sections A to E below the cell answer one question each.",),
)
