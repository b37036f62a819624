"""The self-test of notebook 00."""

from lliptools.teach.exercises.answers import Questions

__all__ = ["SelfTest"]


class SelfTest(Questions):
    """Five numbers, one for each section of the notebook."""

    questions = tuple(
        (name, truth, f"{what}: read section {section} below", slips)
        for name, truth, slips, section, what in (
            ("norm", 4.0, (5.0, 7.0), "A (norms)", "‖diag(3, −4)‖"),
            ("lipschitz", 6.0, (3.0,), "B (Lipschitz constants)", "the Lipschitz constant of 2·|3t|"),
            ("relu", 0.0, (1.0,), "C (ReLU)", "how much relu(z) changes while z moves from −2 to −1"),
            ("margin", 0.5, (1.5,), "D (margins)", "the margin of label 0 under logits (2, 0.5, 1.5)"),
            ("rows", 128.0, (64.0,), "E (shapes)", "the rows of torch.nn.Linear(64, 128).weight"),
        )
    )
    hints = ("Sections A to E below the cell answer one question each.",)
