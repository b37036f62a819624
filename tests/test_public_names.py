"""The public names, in one place: a change here is a change that CHANGELOG.md names."""

from importlib import import_module
from pathlib import Path

import pytest

NAMES = {
    "lliptools": (
        "AccuracyTable AccuracyTables attacks BlockBound Bound BOUNDS bounds Box Cascade Certificate "
        "certified_accuracy certified_radius certify certify_in_stages check exact_bound export global_bound "
        "InvalidInput layers local_bound merged_bound nets sampled_bound spectral_norm teach tightest_bound "
        "training UnsupportedLayer"
    ),
    "lliptools.nets": (
        "Activation available Block Chain check_input ClippedMaxMin ClippedReLU cnn Designed fold forward Guarantee "
        "LinearMap load MaxMin mlp Monotone provenance read_blocks read_program Residual SUPPORTED"
    ),
    "lliptools.bounds": (
        "adversarial_distance AposterioriNorm ball_box BlockBound Bound BOUNDS Box CholeskyNorm errs exact_bound "
        "exact_norm ExactBound global_bound GramNorm interval_and_ball interval_box LanczosNorm light_boxes "
        "local_bound merged_bound METHODS outward_rounding path_bound PowerNorm round_down round_up sampled_bound "
        "spectral_norm tightest_bound torus_norm UpperNorm"
    ),
    "lliptools.certificates.attacks": ("is_correct pgd"),
    "lliptools.checker": ("CLAIM FORMAT Refused check"),
    "lliptools.certificates.files": ("certificate is_network_of"),
    "lliptools.layers": (
        "AOLConv2d AOLLinear BROLinear cayley CayleyConv2d CayleyLinear condition CPLConv2d CPLLinear export "
        "kernel_norm lipschitz_cnn lipschitz_mlp matrix_norm NormalizedLinear PadChannels SandwichLinear "
        "ScaledAvgPool2d sll_network SLLConv2d SLLLinear SpectralConv2d SpectralLinear"
    ),
    "lliptools.layers.condition": (
        "balanced_scale conv_gershgorin_scale conv_overlap gershgorin_scale lmi lmi_slack overlap slack smallest"
    ),
    "lliptools.training": (
        "Adversarial as_float batches bcp Certified changed cifar10 Clean crop_and_flip digit_images digits fit "
        "GloRo gloro History HoldThenFall last_layer_reach LMT lmt mnist moons Objective Offset "
        "offset_cross_entropy Recipe recipe RECIPES Schedule SharedNorm sparsity_loss Split tiny_imagenet Triangle "
        "worst_logits"
    ),
    "lliptools.teach": ("check doctor figures views widgets"),
    "lliptools.teach.check": (
        "aol_scale ball_box break_spectral_norm capstone clipped_maxmin_mask eight_columns fold_by_hand gloro_loss "
        "gram_iteration interval_box local_loss local_product never_nan new_bound one_undecided_unit "
        "pairwise_radius power_iteration product_bound q_of_sn relu_theta_mask sandwich scaled_pixels self_test "
        "sparsity_loss theta_to_infinity why_sqrt2 worst_pair"
    ),
    "lliptools.teach.figures": (
        "accuracy clipping condition counter_example lattice margins neurons norms products training"
    ),
    "lliptools.teach.widgets": (
        "AccuracyExplorer ClipExplorer ConditionExplorer Explorer LatticeExplorer MarginExplorer NeuronExplorer "
        "NormExplorer ProductExplorer TrainingExplorer"
    ),
}
TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__))


@pytest.mark.parametrize("room", NAMES)
def test_these_and_no_others(room):
    assert {*import_module(room).__all__} == {*NAMES[room].split()}


@pytest.mark.parametrize("room", NAMES)
def test_each_is_there_says_what_it_is_and_is_tested(room):
    for name in NAMES[room].split():
        found = getattr(import_module(room), name)
        if isinstance(found, type) or callable(found):
            assert found.__doc__, name
        assert name in TESTS, f"no test mentions {name}"


def test_the_version_is_said_once():
    import lliptools

    root = Path(__file__).parents[1]
    assert "version" in (root / "pyproject.toml").read_text().split("dynamic = ", 1)[1].splitlines()[0]
    lines = [line for path in (root / "lliptools").rglob("*.py") for line in path.read_text().splitlines()]
    assert sum(line.startswith("__version__") for line in lines) == 1
    assert sum(lliptools.__version__ in line and "==" not in line for line in lines) == 1
