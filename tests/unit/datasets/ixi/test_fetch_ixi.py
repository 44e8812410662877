"""The download of IXI: resumed, verified, unpacked safely; nothing wrong ever stands under the final name."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flaky_server import Server, serving
from users import ALICE, MALLORY, as_user, common_folder

from data_prep.datasets.ixi import fetch as fetch_ixi
from data_prep.datasets.ixi.fetch import ARCHIVES, Patience, fetch, parse_archives, unpack
from data_prep.datasets.ixi.names import misnamed
from data_prep.errors import BadInput

NAMES = {modality: f"/IXI-{modality}.tar" for modality in ("T1", "T2")}
QUICK = Patience(timeout=2.0, window=60.0, least=1, attempts=4, pause=0.0)


def scan_name(number: int, modality: str) -> str:
    return f"IXI{number:03d}-Guys-0828-{modality}.nii.gz"


def tar(members: dict[str, bytes], *special: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in special:
            archive.addfile(info)
    return stream.getvalue()


def scans(modality: str, count: int = 3) -> dict[str, bytes]:
    draw = np.random.default_rng(len(modality) + count)
    return {scan_name(i, modality): draw.bytes(100_000) for i in range(1, count + 1)}


def archives_of(server: Server) -> dict[str, dict[str, str]]:
    return {
        modality: {
            "url": server.address + path,
            "md5": hashlib.md5(server.files[path]).hexdigest(),
        }
        for modality, path in NAMES.items()
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server({path: tar(scans(modality)) for modality, path in NAMES.items()})) as server:
        yield server


def write_part(root: Path, content: bytes) -> None:
    """Leave what a download that was killed leaves."""
    (root / ".IXI-T1.abc.part").mkdir(mode=0o700)
    (root / ".IXI-T1.abc.part" / "IXI-T1.tar").write_bytes(content)


def check_complete(root: Path) -> None:
    for modality in NAMES:
        for name, content in scans(modality).items():
            assert (root / f"IXI-{modality}" / name).read_bytes() == content
    # Neither archives nor parts are left.
    assert {path.name for path in root.iterdir()} == {"IXI-T1", "IXI-T2", ".fetch.lock"}


def test_both_archives_are_downloaded_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path / "IXI", archives_of(server), QUICK)
    check_complete(tmp_path / "IXI")
    assert server.asked == [None, None]
    assert "IXI-T1.tar: 0 of 0 MB" in capsys.readouterr().out
    # A second call asks the server nothing.
    again = fetch(tmp_path / "IXI", archives_of(server), QUICK)
    assert len(server.asked) == 2
    assert again["T1"] == {"from": "the folder that was there", "scans": 3}


@pytest.mark.parametrize("cuts", [[70_000], [1, 99_999, 123_456]])
def test_a_broken_download_goes_on_where_it_broke_off(
    server: Server, tmp_path: Path, cuts: list[int]
) -> None:
    server.break_after = list(cuts)
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)
    starts = [sum(cuts[:i]) for i in range(len(cuts) + 1)]
    assert server.asked[:-1] == [f"bytes={start}-" if start else None for start in starts]


def test_the_next_run_goes_on_where_the_last_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.break_after = [50_000, 1000, 1000, 1000]
    with pytest.raises(BadInput, match=r"IXI-T1\.tar: gave up after 4 attempts .*goes on from there"):
        fetch(tmp_path, archives_of(server), QUICK)
    assert not (tmp_path / "IXI-T1").exists()
    server.asked.clear()
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)
    assert server.asked == ["bytes=53000-", None]


def test_a_run_that_was_killed_between_download_and_unpacking_downloads_nothing(
    server: Server, tmp_path: Path
) -> None:
    write_part(tmp_path, server.files[NAMES["T1"]])
    (tmp_path / ".IXI-T1.abc.partial").mkdir()
    (tmp_path / ".IXI-T1.abc.partial" / scan_name(1, "T1")).write_bytes(b"half")
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)
    assert server.asked == [None]


def test_a_server_that_ignores_range_sends_all_over_again(server: Server, tmp_path: Path) -> None:
    server.break_after, server.ignore_range = [70_000], True
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)
    assert server.asked == [None, "bytes=70000-", None]


def test_a_server_that_sends_another_part_is_not_believed(server: Server, tmp_path: Path) -> None:
    server.break_after, server.shift = [70_000], 512
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)
    assert server.asked == [None, "bytes=70000-", None, None]


@pytest.mark.parametrize("left", [b"of another file" * 1000, b"x" * 1_000_000])
def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path, left: bytes) -> None:
    write_part(tmp_path, left)
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)


@pytest.mark.parametrize("resumed", [False, True])
def test_wrong_bytes_are_refused_and_not_kept(server: Server, tmp_path: Path, resumed: bool) -> None:
    wanted = archives_of(server)
    content = bytearray(server.files[NAMES["T1"]])
    content[-5000] ^= 1
    server.files[NAMES["T1"]] = bytes(content)
    server.break_after = [70_000] if resumed else []
    with pytest.raises(BadInput) as caught:
        fetch(tmp_path, wanted, QUICK)
    message = str(caught.value)
    for part in (wanted["T1"]["url"], wanted["T1"]["md5"], hashlib.md5(content).hexdigest(), "not kept"):
        assert part in message
    assert {path.name for path in tmp_path.iterdir()} == {".fetch.lock"}


def test_passing_faults_are_waited_out(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    fetch(tmp_path, archives_of(server), QUICK)
    check_complete(tmp_path)


def test_a_wrong_address_is_told_at_once(server: Server, tmp_path: Path) -> None:
    wanted = archives_of(server)
    wanted["T1"]["url"] += ".gz"
    with pytest.raises(BadInput, match=r"IXI-T1\.tar\.gz: the address is answered with 404; correct it"):
        fetch(tmp_path, wanted, QUICK)
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["IXI-T1.tar", "gopher://127.0.0.1/IXI-T1.tar", "http://"])
def test_what_is_no_address_is_told(server: Server, tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match=r"correct it in datasets\.ixi\.archives"):
        fetch(tmp_path, {**archives_of(server), "T1": {"url": url, "md5": "0" * 32}}, QUICK)


def test_a_silent_server_is_not_waited_for_without_end(server: Server, tmp_path: Path) -> None:
    server.silent = 1.0
    with pytest.raises(BadInput, match=r"gave up after 2 attempts \(no answer within 0\.2 s"):
        fetch(tmp_path, archives_of(server), Patience(timeout=0.2, attempts=2, pause=0.0))
    assert len(server.asked) == 2


def test_a_server_that_trickles_is_not_waited_for_without_end(server: Server, tmp_path: Path) -> None:
    server.pause, server.piece = 0.05, 10
    patience = Patience(timeout=2.0, window=0.3, least=10_000, attempts=2, pause=0.0)
    with pytest.raises(BadInput, match=r"gave up after 2 attempts \(only \d+ bytes came in 0\.3 s"):
        fetch(tmp_path, archives_of(server), patience)
    assert len(server.asked) == 2


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with serving(Server({})) as gone:
        address = gone.address
    wanted = {modality: {"url": address + path, "md5": "0" * 32} for modality, path in NAMES.items()}
    patience = Patience(timeout=2.0, barren=2, pause=0.0)
    said = r"gave up after 2 attempts \(the server cannot be reached: .*Connection refused"
    with pytest.raises(BadInput, match=said):
        fetch(tmp_path, wanted, patience)


@pytest.mark.parametrize(("trusted", "said"), [(True, "certificate has expired"), (False, "self-signed")])
def test_a_certificate_that_is_no_good_is_told_at_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, said: str
) -> None:
    certificate = Path(__file__).parents[3] / "helpers" / "places" / "expired_certificate.pem"
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        serving(Server(server.files), certificate) as secure,
        pytest.raises(BadInput, match=rf"IXI-T1\.tar: its certificate is refused \(.*{said}.*\); ") as caught,
    ):
        fetch(tmp_path, archives_of(secure), QUICK)
    # What to do without it works: the file that lies there is verified and unpacked.
    assert f"bring the file to {tmp_path / 'IXI-T1.tar'} by other means" in str(caught.value)
    for modality, path in NAMES.items():
        (tmp_path / f"IXI-{modality}.tar").write_bytes(server.files[path])
    assert fetch(tmp_path, archives_of(server), QUICK)["T1"]["scans"] == 3


def test_a_file_of_certificates_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "proxy.pem"))
    with pytest.raises(BadInput, match=r"proxy\.pem; correct REQUESTS_CA_BUNDLE"):
        fetch(tmp_path, ARCHIVES, QUICK)


def test_too_little_room_is_told_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = fetch_ixi.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(fetch_ixi.shutil, "disk_usage", lambda _: usage._replace(free=400_000))
    with pytest.raises(BadInput, match=r"0\.0 GB are free, .* needed to download and unpack; make room"):
        fetch(tmp_path, archives_of(server), QUICK)
    assert not list(tmp_path.glob(".IXI*"))


def test_two_at_a_time_download_once(server: Server, tmp_path: Path) -> None:
    server.pause = 0.02
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fetch, tmp_path, archives_of(server), QUICK) for _ in range(2)]
        assert [call.result()["T1"]["scans"] for call in calls] == [3, 3]
    assert server.asked == [None, None]
    check_complete(tmp_path)


# ---- a folder among several users -----------------------------------------------------------------


def test_links_under_the_temporary_names_are_not_followed(server: Server, tmp_path: Path) -> None:
    victim, root = tmp_path / "victim", tmp_path / "IXI"
    victim.mkdir()
    root.mkdir()
    (victim / "IXI-T1.tar").write_bytes(b"kept")
    for name in (".IXI-T1.tar.part", ".IXI-T2.tar.part"):
        (root / name).symlink_to(victim / "IXI-T1.tar")
    for name in (".IXI-T1.a.part", ".IXI-T1.partial", ".IXI-T2.a.partial"):
        (root / name).symlink_to(victim)
    fetch(root, archives_of(server), QUICK)
    assert [path.read_bytes() for path in victim.iterdir()] == [b"kept"]
    for modality in NAMES:
        assert len(list((root / f"IXI-{modality}").iterdir())) == 3


def test_a_download_is_continued_by_its_own_user_only(server: Server) -> None:
    with common_folder() as root:
        for user in (MALLORY, ALICE):
            server.break_after = [50_000, 1000, 1000, 1000]
            with as_user(user), pytest.raises(BadInput, match="gave up after 4 attempts"):
                fetch(root, archives_of(server), QUICK)
        server.asked.clear()
        with as_user(ALICE):
            fetch(root, archives_of(server), QUICK)
        assert server.asked == ["bytes=53000-", None]
        # The scans are for all, what the other user has is left alone.
        with as_user(MALLORY):
            assert (root / "IXI-T1" / scan_name(1, "T1")).read_bytes() == scans("T1")[scan_name(1, "T1")]
        (left,) = root.glob(".IXI*")
        assert left.stat().st_uid == MALLORY


def test_scans_in_a_folder_that_may_not_be_written_are_used(server: Server) -> None:
    with common_folder(0o755) as root:
        (root / "IXI-T1").mkdir()
        with (
            as_user(ALICE),
            pytest.raises(BadInput, match=r"belongs to .* choose another datasets\.ixi\.root"),
        ):
            fetch(root, archives_of(server), QUICK)
        (root / "IXI-T2").mkdir()
        with as_user(ALICE):
            assert fetch(root, archives_of(server), QUICK)["T1"]["from"] == "the folder that was there"
        assert len(list(root.iterdir())) == 2


# ---- what is already there ------------------------------------------------------------------------


def test_folders_and_archives_that_are_there_are_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "IXI-T1").mkdir()
    (tmp_path / "IXI-T1" / "mine.nii").write_bytes(b"mine")
    (tmp_path / "IXI-T2.tar").write_bytes(server.files[NAMES["T2"]])
    record = fetch(tmp_path, archives_of(server), QUICK)
    assert server.asked == []
    assert (tmp_path / "IXI-T1" / "mine.nii").read_bytes() == b"mine"
    assert record["T1"] == {"from": "the folder that was there", "scans": 1}
    assert (record["T2"]["from"], record["T2"]["scans"]) == ("IXI-T2.tar", 3)
    # The user's own file stays.
    assert (tmp_path / "IXI-T2.tar").is_file()


def test_a_wrong_archive_that_is_there_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "IXI-T1.tar").write_bytes(b"half a download")
    with pytest.raises(BadInput, match=r"IXI-T1\.tar: its MD5 is .*download it again, or remove it"):
        fetch(tmp_path, archives_of(server), QUICK)
    assert (tmp_path / "IXI-T1.tar").is_file()
    assert not (tmp_path / "IXI-T1").exists()


def test_a_stream_without_an_end_is_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_ixi, "_LARGEST", 2**22)
    server.endless = True
    with pytest.raises(BadInput, match="the address leads to more than 4194304 bytes"):
        fetch(tmp_path, archives_of(server), QUICK)
    assert {path.name for path in tmp_path.iterdir()} == {".fetch.lock"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**21))
    with pytest.raises(BadInput, match=r"GB are free, but .* or more are needed"):
        fetch(tmp_path / "full", archives_of(server), QUICK)
    (part,) = (tmp_path / "full").glob(".IXI-T1.*.part/*")
    assert part.stat().st_size <= 2**20


def test_a_file_that_no_archive_can_be_is_not_begun(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_ixi, "_LARGEST", 2**18)
    with pytest.raises(BadInput, match=r"IXI-T1\.tar: the address leads to \d+ bytes, which no archive"):
        fetch(tmp_path, archives_of(server), QUICK)
    assert {path.name for path in tmp_path.iterdir()} == {".fetch.lock"}


# ---- unpacking ------------------------------------------------------------------------------------


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    return info


def sparse(name: str) -> tarfile.TarInfo:
    """A member of 3 GB, of which the archive stores nothing."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.REGTYPE
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "3000000000,0"}
    info.pax_headers |= {"GNU.sparse.size": "3000000000", "GNU.sparse.name": name}
    return info


def claims(kind: bytes) -> tarfile.TarInfo:
    """A header that is followed by a long one of its own, which tarfile reads whole."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 2**20
    return info


GOOD = scan_name(1, "T1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: tar({GOOD: b"x", f"../{scan_name(2, 'T1')}": b"x"}), "outside the folder"),
        (lambda: tar({GOOD: b"x", f"a/../../{scan_name(2, 'T1')}": b"x"}), "outside the folder"),
        (lambda: tar({GOOD: b"x", f"/tmp/{scan_name(2, 'T1')}": b"x"}), "outside the folder"),
        (lambda: tar({GOOD: b"x"}, link(scan_name(2, "T1"), "/etc/passwd")), "a link or a device"),
        (lambda: tar({GOOD: b"x"}, link(scan_name(2, "T1"), GOOD, tarfile.LNKTYPE)), "a link or a device"),
        (lambda: tar({GOOD: b"x"}, device(scan_name(2, "T1"))), "a link or a device"),
        (lambda: tar({GOOD: b"x", f"copy/{GOOD}": b"y"}), f"holds {GOOD} twice"),
        (lambda: tar({scan_name(1, "T2"): b"x"}), "holds no scan"),
        (lambda: tar({GOOD: b"x", f"{'é' * 130}-T1.nii": b"x"}), "a name that no file should have"),
        (lambda: tar({GOOD: b"x", "a\x07-T1.nii": b"x"}), "a name that no file should have"),
        (lambda: tar(scans("T1"))[:150_000], "cannot be unpacked"),
        (lambda: tar({GOOD: b"x"}, sparse(scan_name(2, "T1"))), "claims more than is stored of it"),
        (lambda: tar({}, claims(tarfile.XHDTYPE)) + bytes(2**20), "a header claims 1048576 bytes"),
        (lambda: tar({}, claims(tarfile.GNUTYPE_LONGNAME)) + bytes(2**20), "a header claims 1048576 bytes"),
        (lambda: tar({f"{i}.txt": b"" for i in range(5001)}), "more than 5000 members"),
        (lambda: gzip.compress(tar({GOOD: bytes(2**24)})), "cannot be unpacked"),
        (lambda: b"<html>not found</html>" * 100, "cannot be unpacked"),
        (lambda: b"", "cannot be unpacked"),
    ],
)
def test_an_archive_with_what_it_must_not_hold_leaves_nothing(
    content: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.tar").write_bytes(content())
    with pytest.raises(BadInput, match=message) as caught:
        unpack(inner / "a.tar", inner / "IXI-T1", "T1")
    assert str(caught.value).startswith(f"{inner / 'a.tar'}: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "a.tar"]


def test_folders_in_the_archive_and_other_files_do_not_matter(tmp_path: Path) -> None:
    members = {f"IXI/T1/{name}": content for name, content in scans("T1").items()}
    members |= {"IXI/readme.txt": b"", f"IXI/T1/._{GOOD}": b"", "IXI/bvals.txt": b""}
    (tmp_path / "a.tar").write_bytes(tar(members))
    assert unpack(tmp_path / "a.tar", tmp_path / "IXI-T1", "T1") == 3
    assert {path.name for path in (tmp_path / "IXI-T1").iterdir()} == set(scans("T1"))


def test_a_scan_by_another_name_is_kept_for_the_check_and_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(scans("T1") | {"IXI/IXI004 HH 1_T1.nii.gz": b""}))
    assert unpack(tmp_path / "a.tar", tmp_path / "IXI-T1", "T1") == 3
    assert [path.name for paths in misnamed(tmp_path).values() for path in paths] == ["IXI004 HH 1_T1.nii.gz"]


# ---- command --------------------------------------------------------------------------------------


def test_the_published_archives_are_the_default() -> None:
    place = "https://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI"
    assert {
        "T1": {"url": f"{place}/IXI-T1.tar", "md5": "34901a0593b41dd19c1a1f746eac2d58"},
        "T2": {"url": f"{place}/IXI-T2.tar", "md5": "e3140d78730ecdd32ba92da48c0a9aaa"},
    } == ARCHIVES


@pytest.mark.parametrize("text", ["{", "[]", '{"T1": {"url": "x", "md5": "y"}}', '{"T1": 3, "T2": 4}'])
def test_wrong_archives_are_named(text: str) -> None:
    with pytest.raises(BadInput, match="--archives: must be a JSON object"):
        parse_archives(text)


def test_the_command_fetches_and_records(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "data_prep.datasets.ixi.fetch", "--root", tmp_path / "IXI"]
    command += ["--archives", json.dumps(archives_of(server)), "--record", tmp_path / "record.json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_complete(tmp_path / "IXI")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["T1"] == {
        "from": archives_of(server)["T1"]["url"],
        "md5": archives_of(server)["T1"]["md5"],
        "scans": 3,
    }
    # The record is part of the results, and where scans lie is not.
    assert set(record) == {"T1", "T2"}


def with_login(address: str) -> str:
    return address.replace("//", "//anna:hush@")


def test_a_login_is_used_and_neither_printed_nor_recorded(server: Server, tmp_path: Path) -> None:
    """As the workflow runs it: addresses on the command line, their logins in the environment."""
    plain = archives_of(server)
    full = {name: {**archive, "url": with_login(archive["url"])} for name, archive in plain.items()}
    server.statuses = [503, 401]
    command = [sys.executable, "-m", "data_prep.datasets.ixi.fetch", "--root", tmp_path / "IXI"]
    command += ["--archives", json.dumps(plain), "--record", tmp_path / "record.json"]

    def fetched() -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"FETCH_ARCHIVES": json.dumps({"ixi": full, "fastmri": {}})}
        words = [str(part) for part in command]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    refused = fetched()
    assert refused.returncode == 1
    assert f"{plain['T1']['url']}: the server answers 503" in refused.stdout
    assert f"error: {plain['T1']['url']}: the address is answered with 401" in refused.stderr
    done = fetched()
    assert done.returncode == 0, done.stderr
    check_complete(tmp_path / "IXI")
    assert json.loads((tmp_path / "record.json").read_text())["T1"]["from"] == plain["T1"]["url"]
    assert server.logins[-2:] == ["anna:hush", "anna:hush"]
    said = (
        refused.stdout + refused.stderr + done.stdout + done.stderr + (tmp_path / "record.json").read_text()
    )
    assert "hush" not in said


@pytest.mark.parametrize("fault", ["checksum", "address", "own file"])
def test_no_refusal_tells_a_login(server: Server, tmp_path: Path, fault: str) -> None:
    archives = {name: {**of, "url": with_login(of["url"])} for name, of in archives_of(server).items()}
    if fault == "checksum":
        archives["T1"]["md5"] = "0" * 32
    elif fault == "address":
        archives["T1"]["url"] = "https://anna:hush@:port/"
    else:
        (tmp_path / "IXI-T1.tar").write_bytes(b"half a download")
    with pytest.raises(BadInput) as caught:
        fetch(tmp_path, archives, QUICK)
    assert "hush" not in str(caught.value)
