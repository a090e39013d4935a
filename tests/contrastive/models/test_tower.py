"""Image encoders of the user that do not give what an encoder gives."""

from collections.abc import Callable

import pytest
import torch

from surefoot.contrastive import build
from surefoot.core import SurefootError


class Encoder(torch.nn.Module):
    def __init__(self, answer: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, pictures: torch.Tensor) -> object:
        return self.answer(pictures)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda pictures: (pictures,), "a tuple"),
        (lambda pictures: pictures, r"\(3, 3, 8, 8\)"),
        (lambda pictures: pictures[:2, 0, 0], r"\(2, 8\)"),
    ],
)
def test_what_is_no_features_is_refused(
    answer: Callable[[torch.Tensor], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "own_encoder", lambda: Encoder(answer), raising=False)
    tower = build({"encoder": "torch:torch:own_encoder", "vision_cfg": {}, "text_cfg": {}})
    with pytest.raises(SurefootError, match=f"The encoder gives {said} for 3 pictures"):
        tower.encode_image(torch.zeros(3, 3, 8, 8))


def test_a_function_that_gives_no_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "own_encoder", lambda: 3, raising=False)
    with pytest.raises(SurefootError, match="it is a int, not a torch module"):
        build({"encoder": "torch:torch:own_encoder", "vision_cfg": {}, "text_cfg": {}})
