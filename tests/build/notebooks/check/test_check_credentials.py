"""Strings that look like credentials; put together at run time, so that no scanner takes this file for a leak."""

import pytest

from build.notebooks.check.credentials import find_credentials

LETTERS = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "text",
    [
        f"token = 'hf_{LETTERS}'",
        f"# hf_{LETTERS}",
        "key = 'AK" + "IAABCDEFGHIJKLMNOP'",
        f'os.environ["KAGGLE_KEY"] = "{HEX}"',
        f"KAGGLE_KEY={HEX}",
        f'{{"username":"me","key":"{HEX}"}}',
        f"KAGGLE_API_TOKEN = 'KGAT_{HEX}'",
        f"x = 'ghp_{LETTERS}'",
        f"WANDB_API_KEY = '{LETTERS}'",
        f"password: str = 'x'; DB_PASSWORD = '{LETTERS}'",
        "-----BEGIN RSA PRIVATE " + "KEY-----",
    ],
)
def test_a_credential_is_found_in_code_and_comments(cells_of, text: str) -> None:
    (problem,) = find_credentials(cells_of(f"x = 1\n{text}"))
    assert "cell 1" in problem.where and ":12)" in problem.where


@pytest.mark.parametrize(
    "text",
    [
        "from huggingface_hub import hf_hub_download",
        "print('set KAGGLE_KEY and KAGGLE_USERNAME')",
        'key = os.environ["KAGGLE_KEY"]',
        f'SHA256 = "{HEX * 2}"',
        'TOKEN = "the-name-of-a-variable-only"',
        "token_count = 1234567890123456789012345",
        'SECRET_NAME = "KAGGLE_USER_SECRETS_TOKEN"',
        'state = {"key": "Dry_Green_g"}',
    ],
)
def test_a_mere_mention_is_no_credential(cells_of, text: str) -> None:
    assert find_credentials(cells_of(text)) == []


def test_the_message_does_not_repeat_the_secret(cells_of) -> None:
    (problem,) = find_credentials(cells_of(f"token = 'hf_{LETTERS}'"))
    assert LETTERS not in str(problem) and "hf_a1B2c…" in str(problem)
