"""Who vouches for weights: detached Ed25519 signatures (RFC 8032), as ``openssl pkeyutl`` makes.

``FILE.sig``, 64 bytes, is the signature of ``FILE``. Of weights with a manifest, FILE is the
manifest, which holds the checksum of the safetensors file, and the ONNX file beside it, if there is
one; of others it is the file itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from models.errors import ArtifactError

BUNDLED: Final = Path(__file__).parent / "artifacts"


def require_signature(weights: Path, trusted: Sequence[Path]) -> None:
    """Return if one of the `trusted` keys has signed `weights`, or if there is no such key at all.

    Bundled weights come with the code, and are trusted as it is.

    Args:
        weights: any file of them, as the settings name them.
        trusted: public keys, in PEM.

    Raises:
        ArtifactError: a signature is missing or is by nobody whom we trust, or a key is none.
    """
    if not trusted or weights.resolve().parent == BUNDLED:
        return
    keys = [_public_key(path) for path in trusted]
    for file in _signed_files(weights):
        signature = _read(Path(f"{file}.sig"), f"{file} is not signed")
        if not any(_verifies(key, signature, _read(file, "")) for key in keys):
            raise ArtifactError(
                f"{file} is not signed by anyone of models.trusted_keys, or was changed after "
                "that: have it signed again"
            )


def _signed_files(weights: Path) -> list[Path]:
    if weights.suffix not in {".json", ".safetensors"}:
        return [weights]
    stem = weights.with_suffix("")
    onnx = stem.with_name(f"{stem.name}.onnx")
    return [stem.with_name(f"{stem.name}.json"), *([onnx] if onnx.is_file() else [])]


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path, "models.trusted_keys"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ArtifactError(f"models.trusted_keys: {path} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ArtifactError(f"models.trusted_keys: {path} is no Ed25519 key")
    return key


def _verifies(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        prefix = f"{what}: " if what else ""
        raise ArtifactError(f"{prefix}{path} cannot be read: {error.strerror}") from error
