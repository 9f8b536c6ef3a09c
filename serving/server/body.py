"""The body of an HTTP request, unpacked where it was sent with `Content-Encoding: gzip`.

TensorFlow Serving does the same:
https://github.com/tensorflow/serving/blob/2.16.1/tensorflow_serving/util/net_http/server/internal/evhttp_request.cc
"""

from __future__ import annotations

import zlib

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from serving.server.errors import invalid

#: Bytes of the largest body after unpacking, as of one that came plain.
MAX_BODY_BYTES = 64 << 20
_GZIP = 16 + zlib.MAX_WBITS


def plain_body(request: Request) -> bytes:
    """Returns the body of a request.

    Raises:
      RequestError: an encoding that is not known, or a body that is not what it says.
      RequestEntityTooLarge: more than the request's `max_content_length`, packed or not.
    """
    body = request.get_data()
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise invalid(f"Content-Encoding {encoding!r} is not known; send gzip or no encoding")
    most = request.max_content_length or MAX_BODY_BYTES
    unpack = zlib.decompressobj(_GZIP)
    try:
        plain = unpack.decompress(body, most + 1)
    except zlib.error as error:
        raise invalid(f"the body is not gzip, as Content-Encoding says: {error}") from error
    if len(plain) > most:
        raise RequestEntityTooLarge
    if not unpack.eof:
        raise invalid("the gzip body ends too early")
    return plain
