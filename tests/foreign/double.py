"""A test double of libioc's ResourceBackup and SecureTarfile: their documented behaviour, defects included, and none of their code.

What counts is what comes out: which members an archive has and how they are called, which programs make and take it, and what is
refused. Snapshots and streams are the resource's own matter.
"""
import datetime
import enum
import os
import re
import subprocess
import tarfile
import tempfile


class Format(enum.Enum):
    TAR = "1"
    DIRECTORY = "2"


class IllegalArchiveContent(Exception):
    pass


RSYNC = ["rsync", "-av", "--links", "--hard-links", "--safe-links"]


def snapshot_name():
    # The hour on a clock of twelve stands where the minutes belong.
    return "backup" + datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d%H%I%S.%f")


class LaunchableResourceBackup:
    def __init__(self, resource):
        self.resource = resource

    # Export: everything lies in a directory first, which is the result or becomes a tar file.

    def export(self, destination, standalone=None, recursive=False, backup_format=Format.TAR):
        jail = self.resource
        scratch = None
        if backup_format == Format.TAR:
            scratch = tempfile.TemporaryDirectory()
            work = scratch.name
        else:
            # The command line passes a text, which is neither of the two.
            if os.path.exists(destination):
                raise FileExistsError(destination)
            os.makedirs(destination, mode=0o750)
            work = destination
        snapshot = snapshot_name()
        full_name = f"{jail.dataset_name}@{snapshot}"
        jail.dataset.snapshot(full_name, recursive=True)
        standalone = standalone is not False and "release" in jail.config.keys()
        with open(f"{work}/config.json", "w", encoding="utf-8") as file:
            file.write(jail.config_text())
        self.export_fstab(f"{work}/fstab")
        if not standalone:
            self.export_root(f"{work}/root")
        for dataset in jail.dataset.children if recursive else jail.dataset.children_recursive:
            if dataset.name != jail.root_dataset.name or standalone:
                self.export_dataset(work, dataset, snapshot)
        if backup_format == Format.TAR:
            with tarfile.open(destination, "w:gz") as tar:
                tar.add(work, arcname=".")
            scratch.cleanup()
        jail.zfs.get_snapshot(full_name).delete(recursive=True)
        yield "done"

    def export_fstab(self, path):
        own = self.resource.dataset.mountpoint
        with open(path, "w", encoding="utf-8") as out:
            source = f"{own}/fstab"
            text = open(source, encoding="utf-8").read() if os.path.isfile(source) else ""
            # One slash more than meant: the path that follows begins with one.
            out.write(re.sub(rf"(^|\s){re.escape(own)}(?=[/\s])", r"\1backup:///", text, flags=re.M))

    def export_root(self, target):
        jail = self.resource
        base = f"{jail.release.root_dataset.mountpoint}/.zfs/snapshot/{jail.release_snapshot.snapshot_name}"
        os.mkdir(target)
        command = RSYNC + ["--checksum", f"--compare-dest={base}/", f"{jail.root_dataset.mountpoint}/", target]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def export_dataset(self, work, dataset, snapshot):
        relative = dataset.name[len(self.resource.dataset.name) + 1:]
        path = f"{work}/{relative}.zfs"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            self.resource.zfs.get_snapshot(f"{dataset.name}@{snapshot}").send(file.fileno(), fromname=None, flags=set())

    # Restore.

    def restore(self, source):
        if os.path.isdir(source):
            work, scratch = source, None
        elif source.endswith((".txz", ".tar.gz")):
            scratch = tempfile.TemporaryDirectory()
            work = scratch.name
            extract(source, work)
        else:
            raise ValueError(f"{source} is of an unknown format")
        jail = self.resource
        config = jail.parse_config(open(f"{work}/config.json", encoding="utf-8").read())
        standalone = os.path.isfile(f"{work}/root.zfs")
        if "release" in config and not standalone:
            jail.create_from_release_named(config["release"])
        else:
            jail.create_from_scratch()
        if not standalone:
            command = RSYNC + [f"{work}/root/", f"{jail.root_dataset.mountpoint}/"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        # Nested ones are looked for in the working directory, and so not found.
        for name in os.listdir(work):
            if name.endswith(".zfs"):
                with open(f"{work}/{name}", encoding="utf-8") as file:
                    jail.zfs.get_or_create_dataset(f"{jail.dataset.name}/{name[:-4]}").receive(file.fileno(), force=True)
        jail.import_config(config)
        if os.path.isfile(f"{work}/fstab"):
            jail.import_fstab(open(f"{work}/fstab", encoding="utf-8").read())
        yield "done"


def extract(source, destination):
    """Names must begin with ./ and have no .. anywhere; then everything is extracted."""
    with tarfile.open(source, "r") as tar:
        for member in tar.getmembers():
            if member.name != "." and (not member.name.startswith("./") or ".." in member.name):
                raise IllegalArchiveContent(member.name)
        tar.extractall(destination, filter="fully_trusted")
