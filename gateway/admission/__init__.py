"""Who may come in and what they may write: tokens, grants, rates, schemas, feature flags, origins.

Pure but for reading key and schema files: time is passed in.
"""

from __future__ import annotations

from gateway.admission.features import KILLED, NOT_ENABLED, Features, with_flags
from gateway.admission.grants import at_least, parse_grant_arguments, parse_grants
from gateway.admission.keys import create_secret, read_secret, secret_path
from gateway.admission.origins import origin_allowed
from gateway.admission.rates import AbuseTracker, RateLimiter, Shares, cost_of
from gateway.admission.revocations import Revocation, Revocations
from gateway.admission.schemas import Schemas
from gateway.admission.tokens import TokenIdentity, TokenVerifier, issue

__all__ = [
    "KILLED",
    "NOT_ENABLED",
    "AbuseTracker",
    "Features",
    "RateLimiter",
    "Revocation",
    "Revocations",
    "Schemas",
    "Shares",
    "TokenIdentity",
    "TokenVerifier",
    "at_least",
    "cost_of",
    "create_secret",
    "issue",
    "origin_allowed",
    "parse_grant_arguments",
    "parse_grants",
    "read_secret",
    "secret_path",
    "with_flags",
]
