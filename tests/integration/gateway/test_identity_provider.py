"""Tokens of an identity provider: a real server of keys, tokens that are accepted, and all that are not."""

import asyncio
import base64
import json
import time
import warnings

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skep.gateway.tokens.access import Action, Kind
from skep.gateway.tokens.identity_provider import IdentityProvider, claim, open_identity_provider
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.tokens.provider_keys import ProviderKeys, read_keys
from skep_shared.errors import IdentityUnavailable, InvalidArgument

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://id.example.org", "skep"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(key, kid, **more):
    kind = {rsa.RSAPrivateKey: "RSA", ec.EllipticCurvePrivateKey: "EC"}
    name = next((name for cls, name in kind.items() if isinstance(key, cls)), "Ed")
    algorithm = {
        "RSA": jwt.algorithms.RSAAlgorithm, "EC": jwt.algorithms.ECAlgorithm, "Ed": jwt.algorithms.OKPAlgorithm
    }[name]  # fmt: skip
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"} | more


class KeyServer:
    """Serves a JWKS over HTTP, and counts how often it is fetched."""

    def __init__(self):
        self.body = json.dumps({"keys": [jwk(RSA_KEY, "one"), jwk(EC_KEY, "two", alg="ES256")]}).encode()
        self.status, self.hangs, self.fetches, self.port = 200, False, 0, 0
        self.asked = asyncio.Event()
        self._end = asyncio.Event()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        self._end.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/keys"

    async def _serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.fetches += 1
        self.asked.set()
        if self.hangs:
            await self._end.wait()
        head = (
            f"HTTP/1.1 {self.status} X\r\nlocation: {self.url}\r\nconnection: close\r\ncontent-length: {len(self.body)}"
        )
        writer.write(f"{head}\r\n\r\n".encode() + self.body)
        writer.close()


@pytest.fixture
async def server():
    server = await KeyServer().start()
    yield server
    await server.stop()


@pytest.fixture
def settings(server):
    return IdentitySettings.load(jwks_url=server.url, issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture
def moment():
    return [1000.0]


@pytest.fixture
async def keys(settings, moment):
    async with ProviderKeys(settings, now=lambda: moment[0]) as keys:
        yield keys


@pytest.fixture
def provider(settings, keys):
    return IdentityProvider(settings, keys)


def token(key=RSA_KEY, kid="one", algorithm="RS256", headers=None, without=(), **changes):
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 600, "tenant": "acme",
        "scope": "openid skep:run skep:read",
    } | changes  # fmt: skip
    for name in without:
        del claims[name]
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} | (headers or {}))


async def test_a_token_is_accepted_with_the_tenant_and_rights_of_its_claims(provider, server):
    access = await provider.check(token())

    assert (access.tenant, access.can, access.kind) == ("acme", {Action.RUN, Action.READ}, Kind.IDENTITY)
    assert access.token_id.startswith("jwt:")
    assert access.expires_at.timestamp() > time.time()
    assert (await provider.check(token(EC_KEY, "two", "ES256"))).token_id == access.token_id
    assert (await provider.check(token(sub="user-2"))).token_id != access.token_id
    assert server.fetches == 1


async def test_a_provider_is_opened_from_its_settings(settings, server):
    async with open_identity_provider(settings) as provider:
        assert await provider.check(token())
    assert server.fetches == 1


async def test_rights_may_be_a_list_in_a_nested_claim(server, keys):
    settings = IdentitySettings.load(
        jwks_url=server.url, issuer=ISSUER, audience=AUDIENCE, rights_claim="realm.roles", tenant_claim="https://x.y/t",
        rights={"boss": "admin"},
    )  # fmt: skip
    access = await IdentityProvider(settings, keys).check(
        token(**{"realm": {"roles": ["boss", 7, None, "other"]}, "https://x.y/t": "beta"})
    )

    assert (access.tenant, access.can) == ("beta", {Action.ADMIN})


@pytest.mark.parametrize("scope", ["", "openid", [], {}, 7, None, ["skep:root"]])
async def test_a_token_without_known_rights_may_nothing(provider, scope):
    assert (await provider.check(token(scope=scope))).can == frozenset()


@pytest.mark.parametrize("tenant", ["", "a/b", "*", 7, ["acme"], {}, "x" * 51])
async def test_a_tenant_that_can_not_be_one_is_refused(provider, tenant):
    assert await provider.check(token(tenant=tenant)) is None


async def test_a_token_without_a_tenant_is_refused_unless_the_settings_name_one(provider, server, keys):
    assert await provider.check(token(without=["tenant"])) is None
    tenants = []
    for default in ("beta", "*"):
        settings = IdentitySettings.load(jwks_url=server.url, issuer=ISSUER, audience=AUDIENCE, default_tenant=default)
        tenants.append((await IdentityProvider(settings, keys).check(token(without=["tenant"]))).tenant)
        assert (await IdentityProvider(settings, keys).check(token())).tenant == "acme"
        assert await IdentityProvider(settings, keys).check(token(tenant="*")) is None
    assert tenants == ["beta", None]


NOW = int(time.time())


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 3600}, {"iss": "https://evil.example"}, {"aud": "other"}, {"aud": []}, {"nbf": NOW + 86_400},
        {"iat": NOW + 86_400}, {"exp": "soon"}, {"exp": 10**18}, {"sub": 7},
        {"without": ["exp"]}, {"without": ["iss"]}, {"without": ["aud"]}, {"without": ["sub"]}, {"without": ["iat"]},
        {"key": OTHER_KEY}, {"kid": "two"}, {"kid": "unknown"}, {"algorithm": "RS512"}, {"algorithm": "PS256"},
        {"headers": {"crit": ["x"]}}, {"key": EC_KEY, "kid": "one", "algorithm": "ES256"},
    ],
)  # fmt: skip
async def test_any_other_token_is_refused(provider, changes):
    assert await provider.check(token(**changes)) is None


def unsigned(header, claims=None):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims or {'sub': 'x'})}."


async def test_the_algorithm_is_never_chosen_by_the_token(provider, server):
    right = token()
    _, claims, signature = right.split(".")
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    import hashlib
    import hmac

    head = unsigned({"alg": "HS256", "kid": "one"}).split(".")[0]
    mac = hmac.new(public, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    forged = f"{head}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    for text in (
        unsigned({"alg": "none", "kid": "one"}), unsigned({"alg": "None", "kid": "one"}), forged,
        f"{unsigned({'alg': 'none', 'kid': 'one'}).split('.')[0]}.{claims}.{signature}",
    ):  # fmt: skip
        assert await provider.check(text) is None
    assert await provider.check(right)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a.b.c", "x" * 20_000, "skep_x_y", "é.é.é", "\0.\0.\0", unsigned({"alg": "RS256"}),
        unsigned({"alg": "RS256", "kid": 7}), unsigned({"alg": ["RS256"], "kid": "one"}), unsigned([]), unsigned({}),
    ],
)  # fmt: skip
async def test_a_text_that_is_no_token_is_refused_without_a_fetch(provider, server, text):
    assert await provider.check(text) is None
    assert server.fetches == 0


async def test_a_new_key_is_found_and_made_up_keys_cause_few_fetches(provider, server, moment):
    assert await provider.check(token())
    server.body = json.dumps({"keys": [jwk(OTHER_KEY, "new")]}).encode()
    assert await provider.check(token(OTHER_KEY, "new")) is None
    for number in range(50):
        assert await provider.check(token(kid=f"made-up-{number}")) is None
    assert server.fetches == 1

    moment[0] += 31
    assert await provider.check(token(OTHER_KEY, "new"))
    assert await provider.check(token()) is None  # the old key is gone
    assert server.fetches == 2


async def test_many_tokens_at_once_cause_one_fetch(provider, server):
    accesses = await asyncio.gather(*(provider.check(token()) for _ in range(20)))

    assert all(accesses)
    assert server.fetches == 1


@pytest.mark.parametrize("fault", ["refuses", "hangs", "error", "redirect", "no json", "no keys", "large"])
async def test_a_provider_that_can_not_be_asked_is_reported_and_asked_seldom(server, fault):
    settings = IdentitySettings.load(jwks_url=server.url, issuer=ISSUER, audience=AUDIENCE, fetch_seconds=0.3)
    if fault == "refuses":
        await server.stop()
    server.hangs = fault == "hangs"
    server.status = {"error": 500, "redirect": 302}.get(fault, 200)
    server.body = {"no json": b"<html>", "no keys": b'{"keys": 7}', "large": b" " * 300_000}.get(fault, server.body)
    async with ProviderKeys(settings) as keys:
        provider = IdentityProvider(settings, keys)
        for _ in range(3):
            with pytest.raises(IdentityUnavailable) as caught:
                await provider.check(token())
        assert server.fetches <= 1
        assert caught.value.reason
        assert await provider.check("no token") is None


async def test_known_keys_count_while_the_provider_is_away_for_a_while(provider, server, settings, moment):
    assert await provider.check(token())
    server.status = 503

    moment[0] += settings.keys_seconds + 1
    assert await provider.check(token())
    assert server.fetches == 2
    moment[0] += settings.outage_seconds
    with pytest.raises(IdentityUnavailable, match="it answered 503"):
        await provider.check(token())
    server.status = 200
    moment[0] += settings.refresh_seconds
    assert await provider.check(token())


async def test_a_hanging_fetch_holds_up_no_token_with_a_known_key(provider, server, settings, moment):
    assert await provider.check(token())
    server.hangs = True
    server.asked.clear()
    moment[0] += settings.keys_seconds + 1
    first = asyncio.create_task(provider.check(token()))
    await server.asked.wait()

    assert await provider.check(token())
    assert not first.done()
    first.cancel()


async def test_a_wait_ends_with_the_token(settings, keys):
    provider = IdentityProvider(settings, keys, now=lambda: time.time() + 3600)
    ended = await provider.check(token())
    lasting = await provider.check(token(exp=int(time.time()) + 86_400))

    await provider.wait_until_invalid(ended)
    wait = asyncio.create_task(provider.wait_until_invalid(lasting))
    await asyncio.sleep(0)
    assert not wait.done()
    wait.cancel()


def test_only_public_keys_for_signatures_are_read():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = jwk(rsa.generate_private_key(65537, 1024), "weak")  # noqa: S505 - that is the point
    entries = [
        jwk(RSA_KEY, "rsa"), jwk(ED_KEY, "ed"), jwk(EC_KEY, "ec", alg="ES256"), weak, jwk(RSA_KEY, "enc", use="enc"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}, {"kty": "RSA", "kid": "broken"}, 7, None,
        {**jwk(RSA_KEY, "x"), "kid": 7}, {key: value for key, value in jwk(RSA_KEY, "x").items() if key != "kid"},
    ]  # fmt: skip

    found = read_keys(json.dumps({"keys": entries}).encode())

    assert {kid: key.algorithm for kid, key in found.items()} == {"rsa": None, "ed": None, "ec": "ES256"}


def test_a_claim_is_found_by_its_name_first():
    claims = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}}

    assert [claim(claims, name) for name in ("a.b", "a.c.d", "a.x", "a.b.c", "z", "a.b.c.d")] == [
        1,
        3,
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"issuer": ""}, "issuer"), ({"audience": ""}, "audience"), ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"), ({"algorithms": []}, "algorithms"), ({"rights": {"x": "root"}}, "rights"),
        ({"jwks_url": "http://id.example.org/"}, "jwks_url"), ({"jwks_url": "file:///x"}, "jwks_url"),
        ({"leeway_seconds": -1}, "leeway_seconds"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused(given, field):
    right = {"jwks_url": "https://id.example.org/keys", "issuer": ISSUER, "audience": AUDIENCE}
    assert IdentitySettings.load(**right).is_set
    assert not IdentitySettings.load().is_set
    with pytest.raises(InvalidArgument) as caught:
        IdentitySettings.load(**right | given)
    assert caught.value.field == f"gateway_jwt_{field}"
