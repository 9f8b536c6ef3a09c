"""Bodies of requests, plain and packed."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from serving.server.body import plain_body
from serving.server.errors import RequestError


def request(body, encoding=None, most=None):
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    made = Request(EnvironBuilder(method="POST", data=body, headers=headers).get_environ())
    made.max_content_length = most
    return made


@given(st.binary(max_size=2_000))
def test_a_packed_body_is_the_same_as_a_plain_one(body):
    assert plain_body(request(body)) == body
    assert plain_body(request(gzip.compress(body), "gzip")) == body


@pytest.mark.parametrize("body", [b"{}", gzip.compress(b"x" * 500, mtime=0)[:-9]])
def test_what_is_no_gzip_is_the_callers_fault(body):
    with pytest.raises(RequestError, match="gzip"):
        plain_body(request(body, "gzip"))


def test_another_encoding_is_named():
    with pytest.raises(RequestError, match="'br'"):
        plain_body(request(b"{}", "br"))


def test_a_small_body_that_unpacks_to_a_large_one_is_refused():
    packed = gzip.compress(bytes(1 << 20))
    with pytest.raises(RequestEntityTooLarge):
        plain_body(request(packed, "gzip", most=10_000))
