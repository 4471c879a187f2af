"""docs/tokens.md names every setting of the identity provider, and the defaults of tokens."""

from pathlib import Path

from skep.gateway.tokens.identity_settings import IdentitySettings

PAGE = (Path(__file__).parents[3] / "docs" / "tokens.md").read_text()


def test_every_setting_is_documented():
    assert not [name for name in IdentitySettings.model_fields if f"`SKEP_GATEWAY_JWT_{name.upper()}`" not in PAGE]


def test_documented_defaults_are_the_defaults():
    defaults = {name: field.default for name, field in IdentitySettings.model_fields.items()}

    assert (defaults["algorithms"], defaults["tenant_claim"], defaults["rights_claim"]) == (
        ["RS256", "ES256"],
        "tenant",
        "scope",
    )
    assert defaults["rights"] == {"skep:run": "run", "skep:read": "read", "skep:admin": "admin"}
    assert [defaults[f"{name}_seconds"] for name in ("leeway", "fetch", "refresh", "keys", "outage")] == [
        30,
        5,
        30,
        3600,
        86_400,
    ]
