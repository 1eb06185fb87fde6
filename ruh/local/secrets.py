"""Every secret of a local installation is made once, from this machine's random source."""

import base64
import secrets

from ruh.local.synapse import HomeserverSecrets


def word(length: int = 10) -> str:
    """Lower-case base32 without padding: fit for ids and local parts."""
    return base64.b32encode(secrets.token_bytes(length)).decode().rstrip("=").lower()


def homeserver_secrets() -> HomeserverSecrets:
    key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return HomeserverSecrets(
        as_token=secrets.token_urlsafe(32),
        hs_token=secrets.token_urlsafe(32),
        sender_localpart=f"s{word()}",
        registration_secret=secrets.token_urlsafe(32),
        macaroon_secret=secrets.token_urlsafe(32),
        form_secret=secrets.token_urlsafe(32),
        signing_key=f"ed25519 a_{word(3)[:4]} {key}",
    )


def master_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
