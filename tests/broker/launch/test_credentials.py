import base64
import hashlib
import stat
from pathlib import Path

from broker.launch.credentials import create_passwords, fits, hashed, write_password_file
from broker.runtime.settings import read_password


def test_passwords_are_generated_once_and_private(tmp_path: Path) -> None:
    first = create_passwords(tmp_path, ["heating", "recorder"])
    second = create_passwords(tmp_path, ["heating", "recorder", "operator"])
    assert second["heating"] == first["heating"] == read_password(tmp_path, "heating")
    assert len(set(second.values())) == 3
    assert all(len(password) > 40 for password in second.values())
    for account in second:
        assert stat.S_IMODE((tmp_path / "credentials" / account).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "credentials").stat().st_mode) == 0o700


def test_an_unknown_account_has_no_password(tmp_path: Path) -> None:
    assert read_password(tmp_path, "nobody") is None


def test_the_password_file_holds_hashes_that_verify(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    assert write_password_file(path, {"heating": "secret"}, {"alice": hashed("hers")})
    lines = path.read_text().splitlines()
    account, _, encoded = lines[1].partition(":")
    _, kind, iterations, salt, digest = encoded.split("$")
    assert (account, kind) == ("heating", "7")
    expected = hashlib.pbkdf2_hmac("sha512", b"secret", base64.b64decode(salt), int(iterations))
    assert base64.b64decode(digest) == expected
    assert fits(encoded, "secret")
    assert not fits(encoded, "Secret")
    assert fits(lines[0].removeprefix("alice:"), "hers")
    assert "secret" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_password_file_changes_only_where_it_must(tmp_path: Path) -> None:
    path, hers = tmp_path / "passwords", {"alice": hashed("hers")}
    write_password_file(path, {"heating": "secret"}, hers)
    before = path.read_text()
    assert not write_password_file(path, {"heating": "secret"}, hers)
    assert write_password_file(path, {"heating": "other"}, hers)
    assert path.read_text().splitlines()[0] == before.splitlines()[0]
    assert path.read_text() != before
    assert write_password_file(path, {"heating": "other"})
    assert "alice" not in path.read_text()
