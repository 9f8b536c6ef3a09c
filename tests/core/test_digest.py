"""Digests follow content, not order or place."""

import hashlib

import pytest

from core.digest import code_digest, file_sha256, json_digest


def test_file_digest_is_sha256_of_the_content(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_json_digest_ignores_key_order_and_sees_values():
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 2})


def test_code_digest_differs_between_packages_and_ignores_their_order():
    assert code_digest(["core", "input_tables"]) == code_digest(["input_tables", "core"])
    assert code_digest(["core"]) != code_digest(["input_tables"])


def test_code_digest_takes_single_files_and_refuses_what_is_not_there():
    assert code_digest(["core/files.py"]) != code_digest(["core/digest.py"])
    with pytest.raises(FileNotFoundError, match="fils"):
        code_digest(["core/fils.py"])
