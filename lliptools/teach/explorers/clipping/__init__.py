"""What clipping makes constant."""

from lliptools import nets, training
from lliptools.teach.explorers.clipping.widget import ClipExplorer
from lliptools.teach.shared.example import Example

QUESTION = "What happens to the intervals, and to the bounds, when the second flat zone comes nearer?"


def _digits() -> ClipExplorer:
    """Digits with no clipping, with it, and with the sparsity loss at two weights."""
    names = {"ReLU": "0.5-local", "ReLU-θ": "0.5-clipped", "λ = 1": "0.5-sparse", "λ = 3": "clipped"}
    known = {name: nets.load(f"digits-{of}") for name, of in names.items()}
    data = training.digits()
    return ClipExplorer(known, data.x_test, data.y_test, network="λ = 3", index=3, eps=0.1, eps_max=0.4)


EXAMPLES = {"clipping": Example(5, "Clipping", QUESTION, _digits, "theta_scale", ("0.25", "1", "∞"))}
