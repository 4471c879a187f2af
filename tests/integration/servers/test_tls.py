"""TLS with real certificates: the right authority is accepted; another one and another host name are refused."""

import asyncio
import contextlib
import ssl
import subprocess

import pytest

import skep
from skep_shared.errors import StartError

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


def openssl(*arguments, cwd):
    """Run openssl."""
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def make_authority(directory, name):
    """Make a certificate authority; return its certificate."""
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=directory,  # Python 3.13 asks for it
    )  # fmt: skip
    return directory / f"{name}.pem"


def make_certificate(directory, authority, host):
    """Make a server's certificate for this host name, signed by the authority."""
    (directory / f"{host}.ext").write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid\n")
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}",
        "-keyout", f"{host}.key", "-out", f"{host}.csr", cwd=directory,
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", f"{host}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-days", "2",
        "-CAcreateserial", "-extfile", f"{host}.ext", "-out", f"{host}.pem", cwd=directory,
    )  # fmt: skip
    return directory / f"{host}.pem", directory / f"{host}.key"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A directory with two authorities, and a certificate of the first one for `localhost` and for another host."""
    directory = tmp_path_factory.mktemp("certificates")
    for name in ("right", "wrong"):
        make_authority(directory, name)
    for host in ("localhost", "elsewhere.example.org"):
        make_certificate(directory, "right", host)
    return directory


@pytest.fixture
async def start_front(start_server):
    """Return a function that starts a server and a TLS endpoint before it, and returns the endpoint's port.

    The redis-server of the wheel is built without TLS.
    """
    fronts, tasks = [], set()
    server = await start_server()

    async def start(certificate, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def copy(source, sink):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        async def forward(reader, writer):
            tasks.add(asyncio.current_task())
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))

        fronts.append(await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
        return fronts[-1].sockets[0].getsockname()[1]

    yield start
    for front in fronts:
        front.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_client_and_a_worker_that_trust_the_authority_work(start_front, certificates, work_at, connect_to):
    port = await start_front(certificates / "localhost.pem", certificates / "localhost.key")
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificates}/right.pem"
    await work_at(url)
    session = (await connect_to(url)).session("s")

    assert (await session.run("x = 'y' * 300_000; len(x)")).value == 300_000
    await session.files.put("f", b"d" * 2_000_000)
    assert await session.files.get("f") == b"d" * 2_000_000
    await session.hibernate()
    assert (await session.run("len(x)")).value == 300_000


@pytest.mark.parametrize(
    ("host", "authority", "words"),
    [
        ("localhost", "wrong", "certificate verify failed"),
        ("elsewhere.example.org", "right", "certificate is not valid for 'localhost'"),
    ],
    ids=["another authority", "another host name"],
)
async def test_another_certificate_is_refused(start_front, certificates, work_at, connect_to, host, authority, words):
    port = await start_front(certificates / f"{host}.pem", certificates / f"{host}.key")
    url = f"rediss://u:secret-password@localhost:{port}/0?ssl_ca_certs={certificates}/{authority}.pem"

    with pytest.raises(skep.RedisUnavailable) as caught:
        await connect_to(url)
    assert words in str(caught.value)
    assert "secret-password" not in str(caught.value)
    with pytest.raises(StartError):
        await work_at(url)


async def test_a_client_without_tls_gets_an_error_and_no_hang(start_front, certificates, connect_to):
    port = await start_front(certificates / "localhost.pem", certificates / "localhost.key")

    with pytest.raises(skep.RedisUnavailable):
        await connect_to(f"redis://localhost:{port}/0")
