"""What others do for the same work, as shell commands."""

import shlex
import shutil
import sys

# libioc 0.8: its ResourceBackup runs rsync with these arguments and Python's tarfile.
_EXPORT = """
import sys, tarfile
with tarfile.open(sys.argv[1], "w:gz") as tar:
    tar.add(sys.argv[2], arcname=".")
"""
_RESTORE = """
import sys, tarfile
with tarfile.open(sys.argv[1], "r:gz") as tar:
    tar.getmembers()
    tar.extractall(sys.argv[2], filter="fully_trusted")
"""
_LIBIOC_RSYNC = "rsync -av --links --hard-links --safe-links"


def missing(*programs):
    """Those that are not installed."""
    return [program for program in programs if shutil.which(program) is None]


def _python(text, *arguments):
    return shlex.join([sys.executable, "-c", text, *arguments])


def libioc_export(base, root, out, work):
    return (
        f"mkdir -p {work}/root; {_LIBIOC_RSYNC} --checksum --compare-dest={base}/ {root}/ {work}/root >{work}.log; "
        + _python(_EXPORT, out, work)
        + f"; rm -rf {work}"
    )


def libioc_restore(archive, clone, base, work):
    """With the copy of the release that `zfs clone` makes for nothing."""
    return (
        f"cp -a --reflink=auto {base} {clone}; mkdir -p {work}; "
        + _python(_RESTORE, archive, work)
        + f"; {_LIBIOC_RSYNC} {work}/root/ {clone}/ >{work}.log; rm -rf {work}"
    )


def rsync_tar_pigz(base, root, out, work):
    return (
        f"mkdir -p {work}; rsync -aHAXS --checksum --compare-dest={base}/ {root}/ {work}/; "
        f"tar -C {work} -S --acls --xattrs -c . | pigz >{out}; rm -rf {work}"
    )


def tar(root, out, compressor):
    return f"tar -C {root} -S --acls --xattrs --numeric-owner -c . | {compressor} >{out}"


def untar(archive, root, compressor):
    return f"mkdir -p {root}; {compressor} -dc {archive} | tar -C {root} --acls --xattrs --numeric-owner -xp; sync -f {root}"



def restic(repository):
    return f"RESTIC_PASSWORD=x restic --no-cache -q -r {repository}"


def restic_new(repository):
    return f"rm -rf {repository}; {restic(repository)} init"


def restic_backup(repository, root):
    return f"{restic(repository)} backup {root}"


def restic_restore(repository, target):
    return f"{restic(repository)} restore latest --target {target}"


def borg(repository):
    """With caches and settings of its own."""
    return f"BORG_BASE_DIR={repository}.own BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes borg"


def borg_new(repository):
    return f"rm -rf {repository} {repository}.own; {borg(repository)} init -e none {repository}"


def borg_create(repository, root):
    return f"cd {root}; {borg(repository)} create -C zstd,3 {repository}::a ."


def borg_extract(repository, target):
    return f"mkdir -p {target}; cd {target}; {borg(repository)} extract --numeric-ids {repository}::a"
