"""What a program writes over while another value may stand in the same memory, which torch.export does not say.

torch.export follows views. But some operations hand on the memory of their input without saying so: dropout in
evaluation mode is its input, einsum may be a view of it. What is then written over changes both when the module runs,
and one of them only in the program from which layers are read.
"""

import operator

from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram

# Operations of aten whose results stand in memory of their own. Of others nothing is known, where torch says nothing.
NAMES = (
    "linear matmul mm bmm addmm baddbmm conv1d conv2d conv_transpose2d convolution batch_norm max_pool1d max_pool2d "
    "avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d mean sum cumsum add sub rsub mul div neg abs "
    "maximum minimum clamp clamp_min clamp_max relu leaky_relu prelu relu6 hardtanh tanh sigmoid softplus elu selu "
    "gelu silu mish hardswish cat stack clone zeros_like ones_like full_like"
)
FRESH = frozenset(NAMES.split())


def written_over(program: ExportedProgram) -> str:
    """The first operation that may write over a value that is used again afterwards; empty where there is none."""
    modules = [each for each in program.graph_module.modules() if isinstance(each, fx.GraphModule)]
    return next(filter(None, (_in_graph(each, each is program.graph_module) for each in modules)), "")


def _in_graph(module: fx.GraphModule, outermost: bool) -> str:
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    families: dict[fx.Node, set[fx.Node]] = {}  # of every value those that may stand in its memory
    unsure: set[fx.Node] = set()  # values of which torch does not say whether they do
    for node in module.graph.nodes:
        shared, written, sure = _shared(node)
        if any(_used_again(each, node, families[each], order) for each in written if unsure & families[each]):
            return str(node.target)
        family = {node}.union(*(families[each] for each in shared))
        families.update(dict.fromkeys(family, family))
        if not sure or (node.op == "placeholder" and not outermost):
            unsure.add(node)
    return ""


def _shared(node: fx.Node) -> tuple[list[fx.Node], list[fx.Node], bool]:
    """The inputs whose memory a value may stand in, those that are written over, and whether this is known."""
    if node.op != "call_function" or node.target is operator.getitem:
        return node.all_input_nodes, [], True
    if not isinstance(node.target, OpOverload):
        return node.all_input_nodes, [], False
    arguments = {argument.name: argument.alias_info for argument in node.target._schema.arguments}
    given = dict(zip(arguments, node.args, strict=False)) | dict(node.kwargs)
    told = [(how, given[name]) for name, how in arguments.items() if how is not None and name in given]
    if told:
        shared = [value for _, value in told if isinstance(value, fx.Node)]
        written = [value for how, value in told if how.is_write and isinstance(value, fx.Node)]
        return shared, written, len(shared) == len(told)
    if node.target.namespace == "aten" and node.target.overloadpacket.__name__ in FRESH:
        return [], [], True
    return node.all_input_nodes, [], False


def _used_again(written: fx.Node, by: fx.Node, family: set[fx.Node], order: dict[fx.Node, int]) -> bool:
    """Whether a value that may stand in the same memory is used after the operation that writes over it."""
    return any(order[user] > order[by] for value in family - {written} for user in value.users)
