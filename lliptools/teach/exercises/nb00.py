"""The self-test of notebook 00."""

from lliptools.teach.exercises.answers import Question, Questions

__all__ = ["SelfTest"]


class SelfTest(Questions):
    """Five numbers, one for each section of the notebook."""

    questions = (
        Question("norm", 4.0, "‖diag(3, −4)‖: read section A (norms) below", slips=(5.0, 7.0)),
        Question(
            "lipschitz",
            6.0,
            "the Lipschitz constant of 2·|3t|: read section B (Lipschitz constants) below",
            slips=(3.0,),
        ),
        Question(
            "relu",
            0.0,
            "how much relu(z) changes while z moves from −2 to −1: read section C (ReLU) below",
            slips=(1.0,),
        ),
        Question(
            "margin",
            0.5,
            "the margin of label 0 under logits (2, 0.5, 1.5): read section D (margins) below",
            slips=(1.5,),
        ),
        Question(
            "rows", 128.0, "the rows of torch.nn.Linear(64, 128).weight: read section E (shapes) below", slips=(64.0,)
        ),
    )
    hints = ("Sections A to E below the cell answer one question each.",)
