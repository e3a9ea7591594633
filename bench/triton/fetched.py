"""perf_analyzer, Triton's own load generator, fetched into a folder; nothing is installed.

It comes as a wheel for machines with a C library of version 2.38 or newer. Debian 12 has 2.36, so there the libraries
of Debian 13 are unpacked beside it, and its own loader starts the program: apt downloads them from the mirror that the
machine uses, with lists and a state of its own.

Trap: pip takes a placeholder without a program (version 0.1.0) where the wheel does not fit the machine. So the
version and the platform are named.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

VERSION = "2.60.0"

_WHEEL = "manylinux_2_38_x86_64"
_NEEDED = (2, 38)
_LATER_RELEASE = "trixie"
_LIBRARIES = ("libc6", "libgcc-s1", "libssl3t64", "libstdc++6", "libzstd1", "zlib1g")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TARGETS = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
_TIMEOUT_S = 300.0


class NotHere(Exception):
    """It cannot be had on this machine; the message says why, in one line."""


def perf_analyzer(folder: Path) -> Sequence[str]:
    """The command that runs it; what is missing is fetched into the folder. Raises NotHere."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise NotHere(f"perf_analyzer is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}")
    program = _program(folder / "wheel")
    if libc_version() >= _NEEDED:
        return [str(program)]
    libraries = _libraries(folder / "libraries")
    loader, path = libraries / "usr/lib64/ld-linux-x86-64.so.2", libraries / "usr/lib/x86_64-linux-gnu"
    return [str(loader), "--library-path", str(path), str(program)]


def libc_version() -> tuple[int, ...]:
    """Of this machine; (0,) if it is not GNU's."""
    name, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if name == "glibc" else (0,)


def _program(folder: Path) -> Path:
    program = folder / "perf_analyzer/bin/perf_analyzer"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--only-binary=:all:", "--platform", _WHEEL, "--python-version", "3.11", "--dest", str(folder)),
                f"perf-analyzer=={VERSION}",
            ],
            "pip does not find it",
        )
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(folder)
            wheel.unlink()
        program.chmod(0o755)
    return program


def _libraries(folder: Path) -> Path:
    """Those of a later Debian, unpacked."""
    if (folder / "usr/lib64").exists():
        return folder
    facts = os_release(Path("/etc/os-release").read_text(encoding="utf-8"))
    if facts.get("ID") != "debian":
        raise NotHere(
            f"perf_analyzer needs a C library of version {'.'.join(map(str, _NEEDED))}; this machine has an older one, "
            "and is no Debian"
        )
    state = folder.with_name("apt")
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (state / name).mkdir(parents=True, exist_ok=True)
    targets = _run(["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"], "apt does not answer")
    sources = later_sources(targets, facts.get("VERSION_CODENAME", ""))
    (state / "sources.list").write_text(sources, encoding="utf-8")
    apt = ["apt-get", "--quiet", "--quiet", *_options(state)]
    _run([*apt, "update"], "apt cannot read the lists of the later release")
    _run([*apt, "download", *_LIBRARIES], "apt cannot download its libraries", state / "packages")
    for package in sorted((state / "packages").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], "dpkg cannot unpack them")
    return folder


def os_release(text: str) -> dict[str, str]:
    """What /etc/os-release says."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def later_sources(targets: str, codename: str) -> str:
    """A list of sources for the later release, at the mirrors from which the machine has its own. `targets`: what apt
    tells of them. Raises NotHere.
    """
    lines = [line.split() for line in targets.splitlines()]
    mirrors = dict.fromkeys(fields[0] for fields in lines if fields[1:3] == [codename, "main"])
    if not mirrors:
        raise NotHere(f"apt has no mirror for Debian {codename!r}, from which a later C library could come")
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    return "".join(f"deb {signed}{mirror} {_LATER_RELEASE} main\n" for mirror in mirrors)


def _options(state: Path) -> Sequence[str]:
    """So that apt neither reads nor changes what the machine has."""
    options = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state / "cache",
        "APT::Architecture": "amd64",
    }
    if os.getuid() == 0:
        options["APT::Sandbox::User"] = "root"  # its own user may not write into our folder
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def _run(command: Sequence[str], failed: str, folder: Path | None = None) -> str:
    """What it prints. Raises NotHere."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"perf_analyzer: {failed}: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise NotHere(f"perf_analyzer: {failed}: {last}")
    return done.stdout
