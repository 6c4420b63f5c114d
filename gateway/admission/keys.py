"""The keys that tokens are verified with: one HS256 secret, or the public keys of a JWKS file (RFC 7517).

A key's type fixes its algorithm, so a public key can't be taken for an HMAC secret (RFC 8725 section 2.1).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jwt import InvalidKeyError, PyJWK, PyJWTError
from jwt.algorithms import HMACAlgorithm

from gateway.config import Config
from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

SECRET_BYTES_MIN = 32  # RFC 7518 section 3.2: at least the size of the hash
RSA_BITS_MIN = 2048  # RFC 7518 section 3.3
_ALGORITHMS: Mapping[tuple[str, str | None], str] = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
# What makes the key (RFC 7638 section 3.2, RFC 8037 section 2): the rest of an entry says what it is for.
_KEY_MEMBERS: Mapping[str, Sequence[str]] = {
    "oct": ("k", "kty"),
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
_FINGERPRINT_OF = b"gateway: which secret this is"
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


class Key(NamedTuple):
    """One key, as PyJWT takes it, and the algorithm that it is for.

    `id` is the same in every worker, and as long as the key is, whatever else a JWKS file says of it.
    """

    algorithm: str
    kid: str | None
    material: Any
    id: str


def _id_of(algorithm: str, content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12, person=algorithm.encode()).hexdigest()


class PreparedHmac(HMACAlgorithm):
    """HMAC for secrets that were prepared when they were read.

    PyJWT would look for PEM in them at each token again, for a third of its time.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """The secret as it is."""
        return key if isinstance(key, bytes) else super().prepare_key(key)


class _KeyFile:
    """The keys of one file, as it is now. Raises ConfigError where it can't be used at first."""

    def __init__(self, path: Path, read: Callable[[Path], list[Key]]) -> None:
        self.problem = ""
        self.path = path
        self._read = read
        self._stamp = _stamp(path)
        self._doubted = False
        self.keys = read(path)

    def refresh(self) -> bool:
        """Look at the file again; True where that changed something.

        No file, or nothing in it, means that its keys are revoked; but whoever writes a file in place empties
        it for a moment, so that has to be seen twice. A file that can't be used leaves the keys as they are.
        """
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return False
        is_empty = stamp is None or stamp.size == 0
        if is_empty and not self._doubted:
            self._doubted = True
            return False
        self._stamp, self._doubted = stamp, False
        if is_empty:
            self.keys, self.problem = [], f"{self.path} is gone or empty: its keys are revoked"
            return True
        try:
            self.keys, self.problem = self._read(self.path), ""
        except ConfigError as error:
            self.problem = f"the keys of {self.path} stay as they were, for it can't be used: {error}"
        return True


class _PreviousSecret(_KeyFile):
    """The secret before the present one, while there is one: its tokens are accepted until the file goes."""

    def __init__(self, path: Path, read: Callable[[Path], list[Key]]) -> None:
        super().__init__(path, lambda path: read(path) if path.exists() else [])
        self._read = read

    def refresh(self) -> bool:
        """See `_KeyFile`; that it is gone is nothing to mend."""
        changed = super().refresh()
        if changed and not self.keys and not self.path.exists():
            self.problem = ""
        return changed


class KeyRing:
    """The keys of the configured files; `refresh` reads a file again after it changed.

    Raises ConfigError when a file can't be used, or when there is no key at all. `sole` is the only key,
    where there is only one; `revision` counts the times that keys changed; `problems` are for people.
    """

    def __init__(self, config: Config) -> None:
        auth = config.auth
        self._algorithms = auth.algorithms
        self._files = [_KeyFile(Path(auth.jwks_file), _read_jwks)] if auth.jwks_file else []
        secret = secret_path(config) if "HS256" in auth.algorithms else None
        if secret is not None:
            self._files.append(_KeyFile(secret, lambda path: [read_secret(path)]))
            self._files.append(_PreviousSecret(previous_of(secret), lambda path: [read_secret(path)]))
        self._check_interval_s = auth.keys_check_s
        self._checked_at_s: float | None = None
        self.revision = 0
        self.problems: list[str] = []
        self._take()
        if not self._by_algorithm:
            raise ConfigError(
                "there is no key to verify tokens with: set auth.secret_file or auth.jwks_file to a file "
                f"with keys of auth.algorithms ({', '.join(self._algorithms)})"
            )

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Keys that may have made a signature: those that the token names, else those without a name."""
        keys = self._by_algorithm.get(algorithm, ())
        if kid is None:
            return keys
        return [key for key in keys if key.kid == kid] or [key for key in keys if key.kid is None]

    def holds(self, key_id: str) -> bool:
        """Whether a key is still in use."""
        return key_id in self._ids

    @property
    def any(self) -> bool:
        """Whether there is any key."""
        return bool(self._by_algorithm)

    @property
    def fingerprints(self) -> Sequence[str]:
        """Which HS256 secrets there are: the same on each node, and nothing of the secrets."""
        keys = self._by_algorithm.get("HS256", ())
        return [hmac.digest(key.material, _FINGERPRINT_OF, "sha256").hex() for key in keys]

    def refresh(self, now_s: float) -> None:
        """Look for changed files, at most once in `auth.keys_check_s`."""
        if self._checked_at_s is not None and 0 <= now_s - self._checked_at_s < self._check_interval_s:
            return
        self._checked_at_s = now_s
        changed = [file for file in self._files if file.refresh()]
        if not changed:
            return
        self._take()
        for file in changed:
            if file.problem:
                logger.error("%s", file.problem)
            else:
                logger.info("read %s again; keys in it: %d", file.path, len(file.keys))

    def _take(self) -> None:
        self._by_algorithm: dict[str, list[Key]] = {}
        for key in (key for file in self._files for key in file.keys):
            if key.algorithm in self._algorithms:
                self._by_algorithm.setdefault(key.algorithm, []).append(key)
        keys = [key for group in self._by_algorithm.values() for key in group]
        self.sole = keys[0] if len(keys) == 1 else None
        self._ids = frozenset(key.id for key in keys)
        self.problems = [file.problem for file in self._files if file.problem]
        self.revision += 1


def secret_path(config: Config) -> Path | None:
    """Where the HS256 secret is: `auth.secret_file`, else DATA/jwt-secret unless a JWKS file is set."""
    if config.auth.secret_file:
        return Path(config.auth.secret_file)
    return None if config.auth.jwks_file else Path(config.server.data_dir) / "jwt-secret"


def previous_of(secret: Path) -> Path:
    """Where the secret is that was in use before."""
    return secret.with_name(f"{secret.name}.previous")


def read_secret(path: Path) -> Key:
    """The HS256 key in a file: its bytes without white space at either end. Raises ConfigError."""
    secret = _read_bytes(path, "the HS256 secret").strip()
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"the HS256 secret in {path} has {len(secret)} bytes: at least {SECRET_BYTES_MIN} are needed, "
            "for example from `openssl rand -base64 48`"
        )
    algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
    try:
        material = algorithm.prepare_key(secret)
    except InvalidKeyError:
        raise ConfigError(
            f"{path} holds an asymmetric key, not an HS256 secret: public keys belong into auth.jwks_file"
        ) from None
    return Key("HS256", None, material, _id_of("HS256", secret))


def create_secret(path: Path) -> bool:
    """Make a new secret, readable by its owner only, unless the file is there; True when it was made.

    The file appears whole or not at all, and never replaces one: written aside, then linked to its name.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _publish_secret(path, path.with_name(f".{path.name}.{secrets.token_hex(8)}"))
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = f"{path.parent} is no directory" if is_file else error.strerror
        raise ConfigError(
            f"can't create the signing secret {path}: {reason}; choose another --data that you may write to"
        ) from error


def _publish_secret(path: Path, aside: Path) -> bool:
    descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(descriptor)
        os.link(aside, path)
    except FileExistsError:  # another process was faster
        return False
    finally:
        aside.unlink()
    return True


class _Stamp(NamedTuple):
    """What tells one state of a file from another; `problem`: why it can't even be looked at.

    Its status changes with its content, and where it may be read only now.
    """

    changed_ns: int
    size: int
    inode: int
    problem: str = ""


def _stamp(path: Path) -> _Stamp | None:
    """None where there is no file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _Stamp(0, -1, 0, str(error))
    return _Stamp(status.st_ctime_ns, status.st_size, status.st_ino)


def _read_bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"can't read {what} {path}: {error.strerror}") from error


def _read_jwks(path: Path) -> list[Key]:
    """The usable signature keys of a JWKS file; keys of other kinds are passed over (RFC 7517 section 5)."""
    try:
        document = json.loads(_read_bytes(path, "the JWKS file"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f'{path} is not a JSON Web Key Set: {{"keys": [...]}} is expected')
    keys = [_read_jwk(entry, f"{path}, key {index}") for index, entry in enumerate(entries)]
    return [key for key in keys if key is not None]


def _read_jwk(entry: object, where: str) -> Key | None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: a key must be an object")
    kind, curve, kid = entry.get("kty"), entry.get("crv"), entry.get("kid")
    if not isinstance(kind, str) or not isinstance(curve, str | None) or not isinstance(kid, str | None):
        raise ConfigError(f"{where}: kty, crv and kid must be strings")
    algorithm = _ALGORITHMS.get((kind, curve))
    if algorithm is None or not _is_for_verifying(entry, algorithm):
        return None
    public = entry if kind == "oct" else {k: v for k, v in entry.items() if k not in _PRIVATE_MEMBERS}
    try:
        made = PyJWK(public, algorithm=algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{where} can't be used: {error.__class__.__name__}") from None
    _check_strength(algorithm, made.key, where)
    content = json.dumps([public[member] for member in _KEY_MEMBERS[kind]]).encode()
    return Key(algorithm, kid, made.key, _id_of(algorithm, content))


def _is_for_verifying(entry: Mapping[str, Any], algorithm: str) -> bool:
    operations: Collection[str] | None = entry.get("key_ops")
    return (
        entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


def _check_strength(algorithm: str, key: Any, where: str) -> None:
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        raise ConfigError(f"{where} has {key.key_size} bits: RSA keys need at least {RSA_BITS_MIN}")
    if algorithm == "HS256" and len(key) < SECRET_BYTES_MIN:
        raise ConfigError(f"{where} has {len(key)} bytes: HS256 secrets need at least {SECRET_BYTES_MIN}")
