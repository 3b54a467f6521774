"""Torch on one thread: the tests run beside each other, and sums in one order are equal bit for bit."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
