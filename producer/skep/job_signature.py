"""Signatures of cells that a service enqueues with plain arq, where workers have a signing key."""

from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_cell_id, check_code, check_full_session_id, check_session_id
from skep_shared.settings import Settings
from skep_shared.signing import make_signer, signed_job


def sign_job(session_id: str, code: str, *, cell_id: str, settings: Settings | None = None, **options: object) -> str:
    """Return the option `signature` for arq's `enqueue_job("submit_cell", session_id, code, cell_id=…, **options)`.

    options: those of the job. settings: with the shard's prefix and signing key, by default from the environment.
    Raises InvalidArgument, also if there is no key.
    """
    settings = settings or Settings.load()
    signer = make_signer(settings.signing_key, settings.prefix)
    if signer is None:
        raise InvalidArgument("signing_key", None, "a key is needed to sign a job: set SKEP_SIGNING_KEY")
    body = signed_job(check_code(code), options)
    full_id = session_id if settings.tenant is None else f"{settings.tenant}/{check_session_id(session_id)}"
    return signer.text("job", check_full_session_id(full_id), check_cell_id(cell_id), body)
