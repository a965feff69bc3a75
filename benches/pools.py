"""Pools to measure on: a release and a jail that was cloned from it and changed since. The same seed makes the same trees.

Contents are what systems are made of, as far as a compressor sees: text, code and noise, cut from three blocks.
"""

import json
import os
import random
import shutil
import subprocess

# files, mean bytes of a file, files of the jail that change, files that come, files that go, mean bytes of those that change or come
SIZES = {
    "small": (2_000, 4_000, 60, 40, 20, 30_000),
    "medium": (24_000, 31_000, 900, 1_600, 300, 52_000),
    "large": (480_000, 600, 40, 10, 0, 2_000),
}
RELEASE, JAIL = "12.0-RELEASE", "web01"
FILES_IN_DIRECTORY = 24
BLOCK = 8 << 20


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Contents:
    """Bytes by the seed: slices of a block of text, one of code and one of noise."""

    def __init__(self, rng):
        words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(3_000)]
        text = " ".join(rng.choices(words, cum_weights=_falling(len(words)), k=BLOCK // 5)).encode()
        pieces = [rng.randbytes(rng.randint(2, 6)) for _ in range(3_000)]
        code = b"".join(rng.choices(pieces, cum_weights=_falling(len(pieces)), k=BLOCK // 3))
        self.blocks = [text[:BLOCK], text[:BLOCK], code[:BLOCK], code[:BLOCK], rng.randbytes(BLOCK)]
        self.rng = rng

    def some(self, mean_bytes):
        """Most files are far smaller than the mean, and a few far larger."""
        length = int(self.rng.lognormvariate(0, 1.6) * mean_bytes / 3.6)
        block = self.rng.choice(self.blocks)
        start = self.rng.randrange(len(block))
        slices, missing = [b"%016x\n" % self.rng.getrandbits(64)], length
        while missing > 0:
            slices.append(block[start : start + missing])
            missing -= len(slices[-1])
            start = 0
        return b"".join(slices)


def _falling(count):
    total, sums = 0.0, []
    for rank in range(1, count + 1):
        total += 1 / rank
        sums.append(total)
    return sums


def _write(path, data, rng):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, rng.choice([0o644, 0o644, 0o644, 0o755, 0o600]))
    os.utime(path, ns=(moment := 1_600_000_000_000_000_000 + rng.randrange(10**17), moment))


def _release(root, size, rng):
    files, mean_bytes, *_ = SIZES[size]
    contents = Contents(rng)
    for number in range(files):
        directory = os.path.join(root, f"d{number // FILES_IN_DIRECTORY // 40:03}", f"d{number // FILES_IN_DIRECTORY:05}")
        if number % FILES_IN_DIRECTORY == 0:
            os.makedirs(directory, exist_ok=True)
            os.symlink("f%07d" % number, os.path.join(directory, "first"))
        _write(os.path.join(directory, "f%07d" % number), contents.some(mean_bytes), rng)


def _files(root):
    found = []
    for directory, names, files in os.walk(root):
        names.sort()
        found += [path for path in (os.path.join(directory, name) for name in sorted(files)) if not os.path.islink(path)]
    return found


def _change(root, size, rng):
    _, _, changed, new, gone, mean_bytes = SIZES[size]
    contents = Contents(rng)
    files = rng.sample(_files(root), changed + gone)
    for path in files[:changed]:
        _write(path, contents.some(mean_bytes), rng)
    for path in files[changed:]:
        os.unlink(path)
    places = sorted({os.path.dirname(path) for path in files[:changed]})
    for number in range(new):
        _write(os.path.join(rng.choice(places), "new%05d" % number), contents.some(mean_bytes), rng)


def _own_files(jail):
    with open(os.path.join(jail, "config.json"), "w", encoding="utf-8") as file:
        json.dump({"release": RELEASE, "boot": "yes", "user": {}}, file, indent=4)
    open(os.path.join(jail, "fstab"), "w", encoding="utf-8").close()


def seed(place, size):
    """The trees of a release and of a jail, once made and then kept: `place/SIZE/release`, `place/SIZE/jail`."""
    here = os.path.join(place, size)
    if not os.path.exists(os.path.join(here, "whole")):
        shutil.rmtree(here, ignore_errors=True)
        rng = random.Random(f"remand {size}")
        _release(os.path.join(here, "release"), size, rng)
        run("cp", "-a", os.path.join(here, "release"), os.path.join(here, "jail"))
        _change(os.path.join(here, "jail"), size, rng)
        open(os.path.join(here, "whole"), "w", encoding="utf-8").close()
    return os.path.join(here, "release"), os.path.join(here, "jail")


def plain(pool, seeds, with_jail=True):
    """A pool of plain directories; files that the jail has from its release share nothing."""
    release, jail = seeds
    os.makedirs(f"{pool}/releases/{RELEASE}")
    os.makedirs(f"{pool}/jails")
    run("cp", "-a", release, f"{pool}/releases/{RELEASE}/root")
    if with_jail:
        os.makedirs(f"{pool}/jails/{JAIL}")
        run("cp", "-a", jail, f"{pool}/jails/{JAIL}/root")
        _own_files(f"{pool}/jails/{JAIL}")
    return pool


def btrfs(pool, seeds, with_jail=True):
    """A pool of subvolumes: the jail's root is a snapshot of the release in which its changes were made."""
    release, jail = seeds
    os.makedirs(f"{pool}/releases/{RELEASE}")
    os.makedirs(f"{pool}/jails")
    root = f"{pool}/releases/{RELEASE}/root"
    run("btrfs", "-q", "subvolume", "create", root)
    run("cp", "-a", "--reflink=never", f"{release}/.", root)
    run("btrfs", "property", "set", root, "ro", "true")
    if with_jail:
        run("btrfs", "-q", "subvolume", "create", f"{pool}/jails/{JAIL}")
        run("btrfs", "-q", "subvolume", "snapshot", root, f"{pool}/jails/{JAIL}/root")
        run("rsync", "-aHAX", "--checksum", "--delete", f"{jail}/", f"{pool}/jails/{JAIL}/root/")
        _own_files(f"{pool}/jails/{JAIL}")
    run("sync", "-f", pool)
    return pool


def zfs(pool, seeds):
    """A pool on ZFS below the dataset of this name, and where it is mounted."""
    release, jail = seeds
    for name in ("", "/releases", f"/releases/{RELEASE}", f"/releases/{RELEASE}/root", "/jails", f"/jails/{JAIL}"):
        run("zfs", "create", pool + name)
    there = subprocess.run(
        ["zfs", "get", "-H", "-o", "value", "mountpoint", pool], check=True, capture_output=True, text=True
    ).stdout.strip()
    run("cp", "-a", f"{release}/.", f"{there}/releases/{RELEASE}/root")
    run("zfs", "snapshot", f"{pool}/releases/{RELEASE}/root@p0")
    run("zfs", "clone", f"{pool}/releases/{RELEASE}/root@p0", f"{pool}/jails/{JAIL}/root")
    run("rsync", "-aHAX", "--checksum", "--delete", f"{jail}/", f"{there}/jails/{JAIL}/root/")
    _own_files(f"{there}/jails/{JAIL}")
    return there
