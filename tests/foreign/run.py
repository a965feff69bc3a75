#!/usr/bin/env python3
"""Exports and restores a jail as libioc does.

    run.py export JAIL-DIRECTORY RELEASE-ROOT DESTINATION [option…]
    run.py restore SOURCE RELEASE-ROOT JAIL-DIRECTORY

Options: standalone, directory, command-line (a directory, whatever its name).

With REMAND_TEST_LIBIOC, a directory that libioc's package is in, its own ResourceBackup and SecureTarfile do it; the modules of FreeBSD that
they import are replaced by empty ones. Without it the double does. In both cases jail and datasets are stand-ins: a dataset is a
directory, or with DATASET (the name of the jail's dataset on ZFS) a real one, which zfs(8) sends and receives.
"""
import json
import os
import re
import subprocess
import sys
import types

REAL = os.environ.get("REMAND_TEST_LIBIOC")
DATASET = os.environ.get("DATASET")


class Empty(types.ModuleType):
    """A module that has every class that somebody asks for."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception if name.endswith("Exception") else object,), {"REPLICATE": 1})


if REAL:
    for module in ("libzfs", "sysctl", "jail", "freebsd_sysctl", "freebsd_sysctl.types", "ucl", "git", "netifaces", "pkg"):
        sys.modules[module] = Empty(module)
    sys.path.insert(0, REAL)
    import libioc.errors, libioc.Logger, libioc.helpers, libioc.events, libioc.ZFS  # noqa: E401
    import libioc.Config, libioc.Config.Data, libioc.Config.Prototype, libioc.Config.Dataset  # noqa: E401
    import libioc.Config.Type.JSON, libioc.SecureTarfile  # noqa: E401
    import libioc.Config.Jail.File.Fstab, libioc.Release  # noqa: E401
    import libioc.ResourceBackup as backup
else:
    import double as backup


class Logger:
    @staticmethod
    def log(*_, **__):
        pass

    error = critical = warn = info = verbose = debug = spam = log


class JailFstab:
    """Stands in for libioc's, which wants a host with jails."""

    def __init__(self, jail, **_):
        self.file = f"{jail.directory}/fstab"

    def read_file(self):
        self.text = open(self.file, encoding="utf-8").read() if os.path.isfile(self.file) else ""

    def replace_path(self, old, new):
        self.text = re.sub(rf"(^|\s){re.escape(old)}(?=[/\s])", rf"\1{new}", self.text, flags=re.M)

    def save(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(self.text)


if REAL:
    libioc.Config.Jail.File.Fstab.JailFstab = JailFstab


class Snapshot:
    def __init__(self, name):
        self.name = name
        self.snapshot_name = name.split("@")[1]

    def delete(self, recursive=False):
        if DATASET:
            subprocess.run(["zfs", "destroy", "-r", self.name], check=True)

    def send(self, descriptor, fromname=None, flags=None):
        subprocess.run(["zfs", "send", self.name], check=True, stdout=descriptor)


class Dataset:
    def __init__(self, name, mountpoint):
        self.name, self.mountpoint = name, mountpoint

    def snapshot(self, name, recursive=False):
        if DATASET:
            subprocess.run(["zfs", "snapshot", "-r", name], check=True)

    @property
    def children_recursive(self):
        if not DATASET:
            return []
        listed = subprocess.run(["zfs", "list", "-H", "-r", "-o", "name", self.name], check=True, capture_output=True, text=True)
        return [Dataset(name, None) for name in listed.stdout.split() if name != self.name]

    children = children_recursive

    def receive(self, descriptor, force=False):
        # zfs-fuse at times cannot go on with a file system that is mounted while it is received: I/O error.
        fuse = not os.path.exists("/dev/zfs")
        if fuse:
            subprocess.run(["zfs", "unmount", self.name], check=True)
        subprocess.run(["zfs", "receive", "-F", self.name], check=True, stdin=descriptor)
        if fuse:
            subprocess.run(["zfs", "mount", self.name], check=True)


class Zfs:
    def get_snapshot(self, name):
        return Snapshot(name)

    def get_or_create_dataset(self, name):
        subprocess.run(["zfs", "create", "-p", name], check=True)
        return Dataset(name, None)

    def delete_dataset_recursive(self, dataset):
        pass


class Config:
    """What the backup asks of a jail's config."""

    def __init__(self, text):
        self.plain = json.loads(text)
        self.data = libioc.Config.Data.Data(self.plain) if REAL else self.plain

    def keys(self):
        return self.plain.keys()

    def clone(self, data, skip_on_error=False):
        self.data = data


class Jail:
    def __init__(self, directory, release):
        self.directory, self.release_root = directory, release
        self.name = self.full_name = os.path.basename(directory)
        self.dataset_name = DATASET or f"zroot/ioc/jails/{self.name}"
        self.dataset = Dataset(self.dataset_name, directory)
        self.root_dataset = Dataset(f"{self.dataset_name}/root", f"{directory}/root")
        # Its snapshot is found below .zfs.
        self.snapshots = f"{directory}.release"
        self.release = types.SimpleNamespace(root_dataset=Dataset("release", self.snapshots))
        self.release_snapshot = types.SimpleNamespace(snapshot_name="p0")
        self.logger, self.zfs = Logger(), Zfs()
        self.host = types.SimpleNamespace(distribution=types.SimpleNamespace(name="FreeBSD"))
        self.fstab = types.SimpleNamespace(
            file=f"{directory}/fstab", read_file=self.read_fstab, save=self.save_fstab, text="")
        self.config_handler = types.SimpleNamespace(file=f"{directory}/config.json", write=self.write_config)

    def load(self):
        self.config = Config(open(f"{self.directory}/config.json", encoding="utf-8").read())
        place = f"{self.snapshots}/.zfs/snapshot"
        os.makedirs(place, exist_ok=True)
        if not os.path.islink(f"{place}/p0"):
            os.symlink(self.release_root, f"{place}/p0")

    def config_text(self):
        return json.dumps(self.config.plain, sort_keys=True, indent=4)

    # What a restore does with it.

    def create_from_release(self, release=None):
        self.create_from_scratch()
        subprocess.run(["cp", "-a", f"{self.release_root}/.", f"{self.directory}/root/"], check=True)

    def create_from_release_named(self, name):
        self.create_from_release()

    def create_from_scratch(self):
        self.config = Config("{}")
        if DATASET:
            subprocess.run(["zfs", "create", "-p", DATASET], check=True)
        else:
            os.makedirs(f"{self.directory}/root")

    @staticmethod
    def parse_config(text):
        return json.loads(text)

    def import_config(self, config):
        self.write_config(config)

    def write_config(self, data):
        nested = data.nested if hasattr(data, "nested") else data
        with open(f"{self.directory}/config.json", "w", encoding="utf-8") as file:
            json.dump(nested, file)

    def read_fstab(self):
        self.fstab.text = open(self.fstab.file, encoding="utf-8").read()

    def save_fstab(self):
        self.import_fstab(self.fstab.text)

    def import_fstab(self, text):
        with open(f"{self.directory}/fstab", "w", encoding="utf-8") as file:
            file.write(text)


def main():
    verb, *words = sys.argv[1:]
    if verb == "export":
        jail = Jail(*words[:2])
        jail.load()
        options = words[3:]
        form = backup.Format.DIRECTORY if "directory" in options else backup.Format.TAR
        work = backup.LaunchableResourceBackup(jail)
        form = "txz" if "command-line" in options else form
        steps = work.export(words[2], standalone="standalone" in options, backup_format=form)
    else:
        source, release, directory = words
        jail = Jail(directory, release)
        if REAL:
            libioc.Release.ReleaseGenerator = lambda **named: types.SimpleNamespace(**named)
        steps = backup.LaunchableResourceBackup(jail).restore(source)
    for _ in steps:
        pass


main()
