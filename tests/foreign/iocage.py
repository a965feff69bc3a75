#!/usr/bin/env python3
"""What `iocage export` does with the streams of a jail: a test double, written from what it is documented to make.

    iocage.py export DATASET DIRECTORY zip|tar.xz DATE     snapshots and sends, then packs; prints the path of the export
    iocage.py pack ARCHIVE FILE...                         packs what is there, and writes the checksum beside it
"""
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile


def pack(archive, files):
    # The names of the members are the paths of the files, without the slash at the begin.
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", compression=zipfile.ZIP_DEFLATED, allowZip64=True) as out:
            for path in files:
                out.write(path)
    else:
        with tarfile.open(archive, mode="w:xz") as out:
            for path in files:
                out.add(path)
    digest = hashlib.sha256(open(archive, "rb").read()).hexdigest()
    stem = archive[:-4] if archive.endswith(".zip") else archive[:-7]
    with open(f"{stem}.sha256", "w", encoding="ascii") as out:
        out.write(digest)


def export(dataset, directory, form, date):
    jail = dataset.rsplit("/", 1)[1]
    snapshot = f"ioc-export-{date}"
    subprocess.run(["zfs", "snapshot", "-r", f"{dataset}@{snapshot}"], check=True)
    listed = subprocess.run(["zfs", "list", "-H", "-r", "-o", "name", dataset], check=True, capture_output=True, text=True)
    files = []
    for name in listed.stdout.split():
        path = f"{directory}/{jail}_{date}" + name[len(dataset):].replace("/", "_")
        with open(path, "wb") as out:
            subprocess.run(["zfs", "send", f"{name}@{snapshot}"], check=True, stdout=out)
        files.append(path)
    archive = f"{directory}/{jail}_{date}.{form}"
    pack(archive, files)
    subprocess.run(["zfs", "destroy", "-r", f"{dataset}@{snapshot}"], check=True)
    for path in files:
        os.remove(path)
    print(archive)


if sys.argv[1] == "export":
    export(*sys.argv[2:])
else:
    pack(sys.argv[2], sys.argv[3:])
