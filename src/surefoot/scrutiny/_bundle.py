"""The bundle: a signed plan, every query in a chain of hashes, what was found, and a seal over all of it."""

import json
import os
import platform
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from surefoot import __version__
from surefoot.core import SurefootError, alone, digest_of, full_disk_is_said, missing_module, what_failed, write_text
from surefoot.scrutiny._findings import difference, found_again
from surefoot.scrutiny._scrutiny import beside, describe, load_scrutiny, try_plan

PLAN, QUERIES, FINDINGS, SEAL = "plan.json", "queries.jsonl", "findings.json", "seal.json"
_CASE, _REPLAY, _SIGNED = "case.py", "replay.py", ".signature"
BUSY = "Another run works on {}: wait for it, or name another bundle with --out."
_OWN_REPLAY = Path(__file__).with_name("_replay.py")
_LINE = b'{"hash":"%s","record":%s}\n'
_ENCODED = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_SYNC_SECONDS = 1.0


class Chain:
    """The queries of a bundle, open for more: `records` by stage and number, `head` the last hash, `cut` bytes dropped.

    A record is with the system when `append` returns, so that a killed run loses none, and on the disk within about a
    second. A last line that was cut short is dropped.
    """

    def __init__(self, bundle: Path) -> None:
        self.path = path = bundle / QUERIES
        self.head, self.length = digest_of(bundle / PLAN), 0
        self.records: dict[tuple[str, int], dict[str, Any]] = {}
        whole = 0
        for self.head, body in links(bundle) if path.exists() else ():
            whole += len(_LINE % (self.head.encode(), body))
            self._hold(json.loads(body))
        self.stream, self.synced = path.open("ab"), time.monotonic()
        self.cut = self.stream.tell() - whole
        self.stream.truncate(whole)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record at the end."""
        body = _line(record)
        self.head = sha256(self.head.encode() + body).hexdigest()
        with full_disk_is_said(self.path):
            self.stream.write(_LINE % (self.head.encode(), body))
            self.stream.flush()
            if time.monotonic() - self.synced > _SYNC_SECONDS:
                os.fsync(self.stream.fileno())
                self.synced = time.monotonic()
        self._hold(json.loads(body))

    def close(self) -> None:
        """Wait until all of it is on the disk."""
        with full_disk_is_said(self.path), self.stream:
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def _hold(self, record: dict[str, Any]) -> None:
        self.length += 1
        if "stage" in record:
            self.records[record["stage"], record["number"]] = record


def links(bundle: Path) -> Iterator[tuple[str, bytes]]:
    """Hash and bytes of each record of a bundle. Raises `SurefootError` at the first line that is not as written."""
    head = digest_of(bundle / PLAN)
    with (bundle / QUERIES).open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            body = line[84:-2]
            head = sha256(head.encode() + body).hexdigest()
            if line != _LINE % (head.encode(), body):
                raise SurefootError(
                    f"Line {number} of {bundle / QUERIES} is not as it was written, or one before it is missing."
                )
            yield head, body


def write_plan(case: Path, bundle: Path, *, key: Path | None = None) -> dict[str, Any]:
    """Fix a scrutiny before its first query: a new bundle with its plan, signed; the plan.

    `key` is a private Ed25519 key (PEM); without it a new one is kept beside the bundle. Raises `SurefootError` where
    the bundle has a plan already.
    """
    told = describe(load_scrutiny(case), case)
    told["plan"]["seed"] = told["plan"]["seed"] or random.SystemRandom().randrange(1, 2**31)
    try_plan(load_scrutiny(case), told["plan"]["seed"])
    bundle.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(bundle), alone(bundle, BUSY.format(bundle)):
        if (bundle / PLAN).exists():
            raise SurefootError(f"{bundle} has a signed plan already: run it, or name a new bundle with --out.")
        private = signing_key(bundle, key, new=True)
        public = private.public_key().public_bytes_raw().hex()
        told |= {"signed at": _now(), "public key": public, "surefoot": __version__}
        copied = {str(one.relative_to(case.resolve().parent)): one for one in beside(case).values()}
        if taken := {_CASE, _REPLAY} & {*copied}:
            raise SurefootError(
                f"{case} imports {min(taken)} from beside it, a name that the bundle needs: rename that."
            )
        for place, file in (*copied.items(), (_CASE, case), (_REPLAY, _OWN_REPLAY)):
            (bundle / place).parent.mkdir(parents=True, exist_ok=True)
            (bundle / place).write_bytes(file.read_bytes())  # whatever its encoding and line ends
        _write(bundle / PLAN, told, private)
    return told


def read_plan(bundle: Path) -> dict[str, Any]:
    """The plan of a bundle, its signature checked. Raises `SurefootError` for none, or one that was changed."""
    if not (bundle / PLAN).is_file():
        raise SurefootError(f"{bundle} has no plan: make one with `surefoot scrutiny plan CASE.py`.")
    return _read(bundle / PLAN)


def deposit_line(bundle: Path) -> str:
    """What to deposit before a run: who signed this plan, when, and the SHA-256 of plan.json, which no other has."""
    plan = read_plan(bundle)
    return f"Plan {digest_of(bundle / PLAN)}, signed at {plan['signed at']} by {plan['public key']}"


def check_same(bundle: Path, case: Path) -> dict[str, Any]:
    """The plan of a bundle. Raises `SurefootError` where the case file or the system is another than was signed."""
    told = read_plan(bundle)
    if changed := _changed(told, case):
        raise SurefootError(
            f"The {changed[-1]} changed since the plan of {bundle} was signed at {told['signed at']}: put back what it "
            "was, or sign a new plan in a new bundle."
        )
    return told


def _changed(told: Mapping[str, Any], case: Path) -> list[str]:
    """What of a plan a case file describes otherwise."""
    found = json.loads(json.dumps(describe(load_scrutiny(case), case)))
    found["plan"]["seed"] = told["plan"]["seed"]
    return [name for name, value in found.items() if told.get(name) != value]


def check_planned(verified: "Verified", case: Path) -> None:
    """Raise `SurefootError` where a case file says another thing than a plan: but how the system is called here."""
    if changed := {*_changed(verified.plan, case)} - {"system", "other", "case file", "can find"}:
        raise SurefootError(f"What {case} says of its {min(changed)} is not what the plan of {verified.bundle} says.")


def event(name: str) -> dict[str, Any]:
    """What the chain says beside queries: when, on what machine, with which packages."""
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    machine = {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    return {"event": name, "at": _now(), "machine": machine, "packages": packages}


def write_seal(bundle: Path, findings: Mapping[str, Any], chain: Chain, *, key: Path | None = None) -> None:
    """Keep what was found, and sign every file of the bundle with the end of its chain."""
    private = signing_key(bundle, key)
    write_text(bundle / FINDINGS, _text(findings))
    sealed = {"files": {name: digest_of(bundle / name) for name in _names(read_plan(bundle))}}
    sealed |= {"head": chain.head, "lines": chain.length}
    _write(bundle / SEAL, sealed | {"sealed at": _now()}, private)


def own_replay() -> str:
    """The digest of the replay.py that this Surefoot puts into a bundle."""
    return digest_of(_OWN_REPLAY)


def _names(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that are sealed."""
    return (PLAN, PLAN + _SIGNED, _CASE, _REPLAY, QUERIES, FINDINGS, *plan["case file"].get("beside", {}))


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A bundle that is as it was sealed: plan, findings, seal, its number of queries, those drawn to ask again.

    `packages` are those with which it was begun; `records` its queries by stage and number, where they were kept.
    """

    bundle: Path
    plan: Mapping[str, Any]
    findings: Mapping[str, Any]
    seal: Mapping[str, Any]
    queries: int
    drawn: tuple[Mapping[str, Any], ...]
    packages: Mapping[str, str]
    records: Mapping[tuple[str, int], dict[str, Any]]


def verify_bundle(bundle: Path, *, share: float = 0.0, seed: int | None = None, keep: bool = False) -> Verified:
    """Check every byte of a bundle, compute its findings again from its queries, and draw a share of these.

    With `keep`, as `check_asked` wants it, the queries are kept.

    Raises `SurefootError` that names the first file and line that is not as it was sealed, or the first finding that
    is not what the recorded queries give. The case file is not run. Without a `seed` nobody can know what is drawn.
    """
    if not 0 <= share <= 1:
        raise SurefootError(f"The share of queries to ask again is {share:g}: it must lie between 0 and 1.")
    try:
        return _verified(bundle, share, seed, keep)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SurefootError(f"{bundle} is not as Surefoot writes it: {what_failed(error)}") from error


def _verified(bundle: Path, share: float, seed: int | None, keep: bool) -> Verified:
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise SurefootError(f"{path} is a link or a pipe, and no file of the bundle: put the file there.")
    plan, draw, drawn, read = read_plan(bundle), random.Random(seed), [], {"head": "", "lines": 0}
    kept, packages = dict[tuple[str, int], dict[str, Any]](), dict[str, str]()
    if not (bundle / SEAL).is_file():
        raise SurefootError(f"{bundle} is not sealed: its run is not finished. Run it again to go on.")
    seal, made = _read(bundle / SEAL, plan["public key"]), plan["surefoot"]
    other = f" Surefoot {made} made it: verify it with that version." if made != __version__ else ""
    if lost := [name for name in _names(plan) if not (bundle / name).is_file()]:
        raise SurefootError(f"{bundle} lacks {lost[0]}, which was sealed.")

    def records() -> Iterator[dict[str, Any]]:
        for read["head"], body in links(bundle):
            read["lines"] += 1
            if "stage" in (record := _parsed(body)):
                yield record
                if draw.random() < share:
                    drawn.append(record)
                if keep:
                    kept[record["stage"], record["number"]] = record
            else:
                packages.update(() if packages else record["packages"])

    try:
        found = found_again(plan, records())
    except SurefootError as error:
        raise SurefootError(f"{error}{other}") from error
    if read != {name: seal[name] for name in read}:
        raise SurefootError(
            f"{bundle / QUERIES} has {read['lines']:,} lines, and {seal['lines']:,} were sealed: some are missing."
        )
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    if strange := present - {*_names(plan), SEAL, SEAL + _SIGNED}:
        raise SurefootError(f"{bundle} holds {min(strange)}, which was not sealed: move it away.")
    signed = {_CASE: plan["case file"]["digest"]} | plan["case file"].get("beside", {})
    for name in _names(plan):
        if (digest := digest_of(bundle / name)) != seal["files"].get(name):
            raise SurefootError(f"{bundle / name} is not as it was sealed.")
        if digest != signed.get(name, digest):
            raise SurefootError(f"{bundle / name} is not the one of its plan.")
    findings = _parsed((bundle / FINDINGS).read_bytes())
    check_findings(bundle, findings, found, other)
    told = {"plan": plan, "findings": findings, "seal": seal, "queries": found["cases"], "drawn": tuple(drawn)}
    return Verified(**told, bundle=bundle, packages=packages, records=kept)


def check_findings(bundle: Path, findings: object, found: Mapping[str, Any], other: str = "", **unknown: str) -> None:
    """Raise `SurefootError` where the findings of a bundle are not those that were found again."""
    if said := difference(findings, found, every=not other, **unknown):
        raise SurefootError(f"{bundle / FINDINGS} is not what its queries give: {said}.{other}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` for a name that is there twice: another reader might take the other."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_ONCE = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


def _parsed(data: bytes) -> Any:
    """What JSON holds, with no name twice in it, and no NaN. Raises `ValueError`."""
    value, end = _ONCE.raw_decode(text := data.decode())
    if text[end:].strip():
        raise ValueError("there is more than one value")
    return value


def _line(record: object) -> bytes:
    return _ENCODED(record).encode(errors="backslashreplace")  # half a surrogate pair: as JSON's own escape


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _text(value: object) -> str:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def _write(path: Path, value: object, private: Any) -> None:
    write_text(path, _text(value))
    write_text(path.with_name(path.name + _SIGNED), private.sign(_text(value).encode()).hex() + "\n")


def _read(path: Path, public: str = "") -> dict[str, Any]:
    """What was signed, by this key or the one that it names itself."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as error:
        raise missing_module("cryptography") from error
    data = path.read_bytes()
    try:
        told, signed = _parsed(data), path.with_name(path.name + _SIGNED).read_bytes()
        signature = bytes.fromhex(signed.decode())
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public or told["public key"])).verify(signature, data)
        if signed == signature.hex().encode() + b"\n":
            return told
    except (InvalidSignature, ValueError, KeyError, TypeError, OSError):
        pass
    raise SurefootError(f"{path} is not what was signed, or {path.name}{_SIGNED} is not its signature.")


def signing_key(bundle: Path, given: Path | None, *, new: bool = False) -> Any:
    """A private key: a `new` one, or that of the bundle's plan. Raises `SurefootError` for none, and for another."""
    try:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ModuleNotFoundError as error:
        raise missing_module("cryptography") from error
    path = given or bundle.with_name(f"{bundle.name}.key")
    if new and not given and not path.exists():
        made = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    if not path.exists():
        raise SurefootError(f"There is no key {path}: name the one that signed the plan with --key.")
    try:
        found = form.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SurefootError(f"{path} is no private key in PEM without a password: name one with --key.") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise SurefootError(f"{path} must be an Ed25519 key: `openssl genpkey -algorithm ed25519` makes one.")
    if not new and found.public_key().public_bytes_raw().hex() != read_plan(bundle)["public key"]:
        raise SurefootError(f"The key is not the one that signed the plan of {bundle}: name that with --key.")
    return found
