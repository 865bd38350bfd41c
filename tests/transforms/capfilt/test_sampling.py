import pytest
import torch
from transformers.generation import TopPLogitsWarper

from transforms.capfilt.sampling import DrawnToken, Draws, nucleus
from transforms.capfilt.seeds import seeds_of


def test_draws_are_torchs_own_of_single_rows() -> None:
    logits = torch.randn(6, 900, generator=torch.Generator().manual_seed(1)) * 3
    draws = Draws(range(6))
    found = torch.stack([draws.draw(logits) for _ in range(8)], dim=1)
    for row in range(6):
        torch.manual_seed(row)
        own = logits[row : row + 1].softmax(-1)
        wanted = [torch.multinomial(own, 1).item() for _ in range(8)]
        assert found[row].tolist() == wanted


def test_draws_among_few_tokens_are_those_among_all() -> None:
    logits = torch.randn(4, 900, generator=torch.Generator().manual_seed(5)) * 3
    few, all_of_them = Draws(range(4)), Draws(range(4))
    for _ in range(20):
        best, tokens = nucleus(logits, 0.8)
        whole = torch.full_like(logits, float("-inf")).scatter_(1, tokens, best)
        assert few.draw(best, tokens, 900).tolist() == all_of_them.draw(whole).tolist()


def test_ruled_out_tokens_are_never_drawn() -> None:
    logits = torch.full((2, 50), float("-inf"))
    logits[0, 7], logits[1, 9] = 0.0, -3.0
    assert Draws([0, 1]).draw(logits).tolist() == [7, 9]


def test_the_processor_leaves_only_what_was_drawn() -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    left = DrawnToken(Draws([4, 5, 6]))(torch.zeros(3, 1, dtype=torch.long), logits)
    assert left.argmax(-1).tolist() == Draws([4, 5, 6]).draw(logits).tolist()
    assert (left == float("-inf")).sum().item() == 3 * 39


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])  # nearly even: past the likeliest few hundred
@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_nucleus_is_that_of_transformers(spread: float, top_p: float) -> None:
    logits = torch.randn(5, 2000, generator=torch.Generator().manual_seed(2)) * spread
    wanted = TopPLogitsWarper(top_p)(torch.zeros(5, 1), logits.clone())
    best, tokens = nucleus(logits, top_p)
    found = torch.full_like(logits, float("-inf")).scatter_(1, tokens, best)
    there, same = found > float("-inf"), wanted > float("-inf")
    assert (there != same).sum() <= 1  # a sum in another order, at the border
    torch.testing.assert_close(found[there & same], logits[there & same])
    assert there.any(dim=1).all()


def test_seeds_are_of_the_picture() -> None:
    seeds = seeds_of(b"picture", 0, 3)
    assert seeds[:2] == seeds_of(b"picture", 0, 2)
    assert len({*seeds, *seeds_of(b"picture", 1, 3), *seeds_of(b"other", 0, 3)}) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)
