"""A module in eval mode for a while."""

import pytest
from torch import nn

from avseg_cli.model.modes import in_eval


def test_each_part_is_afterwards_as_it_was() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    module[1][0].eval()
    before = [part.training for part in module.modules()]
    with pytest.raises(KeyError), in_eval(module):
        assert not any(part.training for part in module.modules())
        raise KeyError
    assert [part.training for part in module.modules()] == before
