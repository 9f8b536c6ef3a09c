"""Texts that look like secrets are found and masked; others are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import MASK, looks_secret, redacted

SECRETS = [
    "AKIA" + "Q" * 16,
    "ghp_" + "a1" * 18,
    "xoxb-123456789012-abc",
    "AIza" + "b" * 35,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz",
    "https://hooks.slack.com/services/T0/B0/xyz",
    "-----BEGIN RSA PRIVATE KEY-----",
    "Authorization: Bearer abcdefgh12345678",
    "Bearer abcdefgh12345678",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG",
    '"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"',
    "X-Amz-Signature=0123456789abcdef",
]
PLAIN = [
    "s3://bucket/key", "registry.example/tessera@sha256:" + "0" * 64, "{{$}}", "2026-01-02",
    "secretKey: AWS_SECRET_ACCESS_KEY",
    "title: tfx.Model\ntype: object\n", "gs://bucket:with/colon@at", "",
]  # fmt: skip


@pytest.mark.fault(80)
@pytest.mark.parametrize("secret", SECRETS)
@given(before=st.text(" abc:=", max_size=5), after=st.sampled_from(["", " ", '"', "\n"]))
def test_a_secret_inside_any_text_is_found_and_masked(secret, before, after):
    text = f"{before} {secret}{after}"
    assert looks_secret(text)
    assert secret not in redacted(text)
    assert MASK in redacted(text)


def test_a_password_in_a_url_is_masked():
    assert redacted("s3://me:hunter2@host/x") == f"s3{MASK}host/x"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_are_left_alone(text):
    assert not looks_secret(text)
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["KFP_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "ApiKey"])
def test_a_variable_of_such_a_name_holds_one(name):
    assert looks_secret("abc", name)
    assert not looks_secret("", name)
    assert not looks_secret("abc", "TF_USE_LEGACY_KERAS")
