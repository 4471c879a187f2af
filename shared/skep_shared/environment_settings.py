"""What all models of settings share: values come from overrides, otherwise from `SKEP_*` variables, otherwise defaults.

A model has a prefix of its own below `SKEP_`. The error for a refused value has the name without `SKEP_`, in lower
case: `gateway_port` for `SKEP_GATEWAY_PORT`. So `environment.variable_of` finds the variable that gave the value.
"""

import os
from typing import Final, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from skep_shared.environment import PREFIX, variable_of
from skep_shared.errors import InvalidArgument

SECRETS: Final = frozenset({"signing_key"})  # settings whose values are never shown, and that are no flags
HIDDEN: Final = "***"


class EnvironmentSettings(BaseSettings):
    """A model of settings; each one sets `env_prefix`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Return the settings from the environment and the overrides (None: not given). Raises InvalidArgument."""
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except SettingsError as exc:  # which names the field only in its text
            field = cls._full_name(next((name for name in cls.model_fields if f'"{name}"' in str(exc)), ""))
            text = os.environ.get(variable_of(field) or "")
            raise InvalidArgument(field, text, "the variable must be JSON") from exc
        except ValidationError as exc:
            first = exc.errors()[0]
            field, value, limit = ".".join(str(part) for part in first["loc"]), first["input"], first["msg"]
            refusal = first.get("ctx", {}).get("error")  # set by the checks of the models and of `limits`
            if isinstance(refusal, InvalidArgument):
                limit = refusal.limit
                if not field:  # a check of several fields together, which names the one to change
                    field, value = refusal.field, refusal.value
            if field in SECRETS:  # pydantic's own error quotes the value
                raise InvalidArgument(cls._full_name(field), HIDDEN, limit) from None
            raise InvalidArgument(cls._full_name(field), value, limit) from exc

    @classmethod
    def _full_name(cls, field: str) -> str:
        """Return a field's name as errors have it, of any field that is not known if it is ""."""
        return f"{cls.model_config['env_prefix'].removeprefix(PREFIX).lower()}{field or 'settings'}"
