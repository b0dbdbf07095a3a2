"""An address that somebody typed in cannot be turned against our own network."""

import contextlib
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.alerts import outgoing
from apps.alerts.domain.addresses import is_public

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.127.255.254", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "192.0.2.1", "198.18.0.1", "::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
        "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
        "3fff::1", "192.88.99.1", "not an address", "",
    ],
)  # fmt: skip
def test_what_is_not_everybodys_is_refused_in_whatever_dress(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "100.63.255.255", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"],
)
def test_what_is_everybodys_may_be_called(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example/", "begins with https://"),
        ("ftp://hooks.example/", "begins with https://"),
        ("https://", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("https://alice:secret@hooks.example/", "no user and password"),
        ("https://@hooks.example/", "no user and password"),
        ("https://hooks.example/#here", "no fragment"),
        ("https://hooks.example/#", "no fragment"),
        ("https://hooks.example:0/", "Port 0 is not allowed"),
        ("https://hooks.example:8443/", "Port 8443 is not allowed"),
        ("https://hooks.example:notaport/", "not an address"),
    ],
)
def test_the_form_of_an_address(settings, url, says):
    settings.ALERT_PRIVATE_ADDRESSES = False

    assert says in outgoing.why_not(url, resolve_too=False)


def test_ports_and_plain_http_by_setting(settings):
    settings.ALERT_PRIVATE_ADDRESSES, settings.ALERT_PLAIN_HTTP, settings.ALERT_PORTS = False, True, [8443]

    assert outgoing.why_not("http://hooks.example/", resolve_too=False) == ""
    assert outgoing.why_not("https://hooks.example:8443/", resolve_too=False) == ""


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
)
def test_the_result_of_resolving_counts_not_the_text(settings, host):
    settings.ALERT_PRIVATE_ADDRESSES = False

    assert "is a private address" in outgoing.why_not(f"https://{host}/")


def resolver(monkeypatch, *answers):
    """A name whose addresses change from one look to the next; the last answer stays."""
    asked = []
    real = socket.getaddrinfo

    def look(host, port, *args, **kwargs):
        if host[0].isdigit():
            return real(host, port, *args, **kwargs)
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return asked


def test_one_private_address_among_several_is_enough_to_refuse(settings, monkeypatch):
    settings.ALERT_PRIVATE_ADDRESSES = False
    resolver(monkeypatch, [PUBLIC, "10.0.0.7"])

    assert "is a private address" in outgoing.why_not("https://hooks.example/")


def test_a_name_that_has_turned_inwards_since_it_was_saved_is_refused_at_the_attempt(settings, monkeypatch):
    settings.ALERT_PRIVATE_ADDRESSES = False
    asked = resolver(monkeypatch, [PUBLIC], ["127.0.0.1"])

    assert outgoing.why_not("https://hooks.example/") == ""
    with pytest.raises(outgoing.Refusal, match="private"):
        outgoing.post("https://hooks.example/", b"{}", {})

    assert len(asked) == 2


def test_it_resolves_once_and_connects_to_the_address_that_was_checked(settings, monkeypatch, receiver):
    port = receiver.server.server_port
    monkeypatch.setattr(outgoing, "is_public", lambda address: address == "127.0.0.1")
    settings.ALERT_PRIVATE_ADDRESSES, settings.ALERT_PLAIN_HTTP, settings.ALERT_PORTS = False, True, [port]
    asked = resolver(monkeypatch, ["127.0.0.1"], ["10.9.9.9"])

    answer = outgoing.post(f"http://hooks.example:{port}/hook?a=1", b"{}", {})

    assert answer.status == 204
    assert asked == ["hooks.example"]
    assert receiver.got[0][0]["host"] == f"hooks.example:{port}"
    assert receiver.paths == ["/hook?a=1"]


def test_a_redirect_is_an_answer_and_no_more(receiver, other):
    receiver.answers = [(302, {"Location": other.url})]

    answer = outgoing.post(receiver.url, b"{}", {})

    assert (answer.status, other.got) == (302, [])


def test_a_proxy_from_the_environment_is_not_used(receiver, other, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, other.url)

    assert outgoing.post(receiver.url, b"{}", {}).status == 204
    assert other.got == []


def test_the_times_that_a_call_has():
    assert (outgoing.CONNECT_SECONDS, outgoing.TOTAL_SECONDS) == (3, 10)


def test_who_never_takes_the_connection_is_left_long_before_that(settings, monkeypatch):
    settings.ALERT_PRIVATE_ADDRESSES = True
    monkeypatch.setattr(outgoing, "CONNECT_SECONDS", 0.2)
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # more than its queue holds: the next is not even answered
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())

        with pytest.raises(outgoing.NoAnswer, match="no connection within"):
            outgoing.post(f"http://127.0.0.1:{full.getsockname()[1]}/", b"{}", {})


def test_a_receiver_that_hangs_is_left_after_the_whole_time(receiver, monkeypatch):
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 1.0)
    receiver.hangs = 600

    with pytest.raises(outgoing.NoAnswer, match="no answer within"):
        outgoing.post(receiver.url, b"{}", {})


def test_a_byte_now_and_then_does_not_buy_more_time(receiver, monkeypatch):
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 1.0)
    receiver.answers, receiver.drips = [(200, {})], True  # for as long as anybody listens

    with pytest.raises(outgoing.NoAnswer, match="no answer within"):
        outgoing.post(receiver.url, b"{}", {})


def test_no_more_than_64_kb_are_read(receiver):
    receiver.answers = [(200, {})]
    receiver.body = b"x" * 1_000_000

    assert len(outgoing.post(receiver.url, b"{}", {}).body) == 64 * 1024


def test_nobody_listening_is_a_passing_fault(settings):
    settings.ALERT_PRIVATE_ADDRESSES = True
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    with pytest.raises(outgoing.NoAnswer, match="no connection"):
        outgoing.post(f"http://127.0.0.1:{port}/", b"{}", {})


def test_plain_text_where_tls_was_asked_for_is_no_answer(receiver):
    with pytest.raises(outgoing.NoAnswer):
        outgoing.post(receiver.url.replace("http://", "https://"), b"{}", {})


def certificate(folder, name):
    """A key and a certificate that it signs itself, for one name."""
    file = folder / f"{name}.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + made.public_bytes(pem))
    return file


def test_the_name_stands_in_the_handshake_and_must_fit_the_certificate(settings, monkeypatch, receiver, tmp_path):
    """The connection goes to the address that was checked; TLS still is about the name."""
    file = certificate(tmp_path, "hooks.example")
    asked_for = []
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    server.sni_callback = lambda _, name, __: asked_for.append(name)
    receiver.server.socket = server.wrap_socket(receiver.server.socket, server_side=True)
    monkeypatch.setattr(outgoing, "trust", lambda: ssl.create_default_context(cafile=file))
    settings.ALERT_PRIVATE_ADDRESSES = True
    resolver(monkeypatch, ["127.0.0.1"])
    port = receiver.server.server_port

    answer = outgoing.post(f"https://hooks.example:{port}/", b"{}", {})
    with pytest.raises(outgoing.NoAnswer, match="no connection"):
        outgoing.post(f"https://other.example:{port}/", b"{}", {})

    assert answer.status == 204
    assert asked_for == ["hooks.example", "other.example"]
    assert len(receiver.got) == 1
