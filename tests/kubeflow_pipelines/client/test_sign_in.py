"""Secured installations: tokens of either kind, certificates, proxies; one error per refusal."""

import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.serving import make_server

from kubeflow_pipelines.client import sign_in
from tests.kubeflow_pipelines.client.kfp_stub import _Handler


@pytest.fixture
def submit(tessera, spec_file, conf_file, naps):
    def call(host, *more, **kubeflow):
        words = ["submit", spec_file(), "--conf", conf_file(host, **kubeflow)]
        return tessera(*words, "--run-date", "2024-06-30", *more)

    return call


@pytest.fixture
def token_file(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("first\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    return path


def sent(stub):
    return {seen.headers.get("Authorization") for seen in stub.requests}


def test_a_projected_token_is_sent_and_its_renewal_is_seen(submit, make_stub, token_file):
    stub = make_stub(tokens={"first", "second"}, polls=2)
    stub.fault = lambda n, operation: (
        token_file.write_text("second\n") and None if operation == "CreateRun" else None
    )
    result = submit(stub.url, "--wait")
    assert result.code == 0, result.err
    assert sent(stub) == {"Bearer first", "Bearer second"}
    assert stub.requests[-1].headers["Authorization"] == "Bearer second"


def test_the_default_path_of_the_token_needs_no_variable(submit, make_stub, tmp_path, monkeypatch):
    (tmp_path / "projected").write_text("t")
    monkeypatch.setattr(sign_in, "KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "projected"))
    stub = make_stub(tokens={"t"})
    assert submit(stub.url).code == 0
    assert submit(stub.url, sign_in="none").code == 2  # nothing is sent where none is asked for


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("auto", "Bearer static"),
        ("token", "Bearer static"),
        ("service_account", "Bearer first"),
        ("none", None),
    ],
)
def test_the_configuration_chooses_among_both(
    submit, make_stub, token_file, monkeypatch, kind, header
):
    monkeypatch.setenv("KFP_TOKEN", "static")
    stub = make_stub()
    assert submit(stub.url, sign_in=kind).code == 0
    assert sent(stub) == {header}


@pytest.mark.parametrize(
    ("kind", "says"),
    [("token", "KFP_TOKEN is not set"), ("service_account", "no token of a service account")],
)
def test_a_token_that_is_asked_for_and_missing_is_said(submit, make_stub, kind, says):
    stub = make_stub()
    result = submit(stub.url, sign_in=kind)
    assert (result.code, stub.requests) == (2, [])
    assert says in result.err


def test_a_token_file_that_is_named_and_missing_is_said(submit, make_stub, token_file):
    token_file.unlink()
    result = submit(make_stub().url)
    assert result.code == 2
    assert str(token_file) in result.err


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda patch, path: None, "put a token into KFP_TOKEN"),
        (lambda patch, path: patch.setenv("KFP_TOKEN", "old"), "wrong or has expired"),
        (
            lambda patch, path: patch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path)),
            "projected for the audience pipelines.kubeflow.org",
        ),
    ],
    ids=["none", "static", "projected"],
)
def test_401_says_what_to_set(submit, make_stub, monkeypatch, tmp_path, prepare, says):
    path = tmp_path / "t"
    path.write_text("old")
    prepare(monkeypatch, path)
    result = submit(make_stub(tokens={"good"}).url)
    assert result.code == 2
    assert "not signed in (401)" in result.err
    assert says in result.err
    assert result.err.count("\n") == 1


def test_403_says_who_may_not_do_it_and_where(submit, make_stub, token_file):
    stub = make_stub(multi_user=True)
    stub.fault = lambda n, operation: 403 if operation == "CreateRun" else None
    result = submit(stub.url, namespace="team")
    assert result.code == 2
    assert "not allowed (403)" in result.err
    assert str(token_file) in result.err
    assert "namespace team" in result.err
    assert "first" not in result.err


def certificate(folder):
    """A certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tessera-test")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "ca.pem", folder / "key.pem"


def test_a_certificate_of_the_companys_own(submit, make_stub, tmp_path):
    import threading

    stub = make_stub()
    ca, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    server = make_server(
        "127.0.0.1", 0, stub, threaded=True, request_handler=_Handler, ssl_context=context
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        refused = submit(url)
        assert refused.code == 2
        assert "kubeflow.ca_cert" in refused.err
        assert submit(url, ca_cert=str(tmp_path / "none.pem")).code == 2
        result = submit(url, ca_cert=str(ca))
        assert result.code == 0, result.err
        assert len(stub.runs) == 1
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("where", ["configuration", "environment"])
def test_requests_go_through_a_proxy(submit, make_stub, monkeypatch, where):
    """The stub stands for the proxy: it gets requests for a host that nobody could look up."""
    stub = make_stub()
    if where == "environment":
        monkeypatch.setenv("http_proxy", stub.url)
        assert submit("http://kubeflow.invalid").code == 0
        monkeypatch.setenv("no_proxy", "kubeflow.invalid")
        assert submit("http://kubeflow.invalid").code == 1
    else:
        assert submit("http://kubeflow.invalid", proxy=stub.url).code == 0
    assert len(stub.runs) == 1
    assert submit(stub.url, proxy="proxy:3128").code == 2
