"""Runs tests where a mutant can do no harm: one of the processes of `fuzz/mutants`, in a mount namespace of its own.

Every file system is read-only but those that it makes here, of files in memory: their size is what a mutant can use up. Each run of a
test executable is in a process namespace of its own, which ends with it, and within limits. Jobs and results are lines of JSON.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

MEMORY = 5 << 29
KEPT = ("/proc", "/dev/pts")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Worker:
    """The place where tests run."""

    def __init__(self, directory, number):
        self.directory = directory
        self.own = os.path.join(directory, f"worker-{number}")
        self.mounted = []
        # What others have mounted for a while would stay busy for them.
        for path in reversed(self.mounts()):
            if path.startswith(("/tmp/", "/var/tmp/", "/dev/shm/")):
                subprocess.run(["umount", "--lazy", path], check=False, stderr=subprocess.DEVNULL)
        os.makedirs(self.own, exist_ok=True)
        os.makedirs(os.path.join(directory, "target/tmp"), exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "size=6g,mode=755", "remand-mutants", self.own)
        self.file_system("main", "ext4", "2g", "-O", "^has_journal")
        self.file_system("btrfs", "btrfs", "2g")
        self.file_system("xfs", "xfs", "1g")
        self.file_system("tiny-btrfs", "btrfs", "64m", "--mixed")
        tiny = os.path.join(self.own, "tiny")
        os.mkdir(tiny)
        run("mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "remand-tiny", tiny)
        self.mounted.append(tiny)
        os.mkdir(os.path.join(self.own, "run"))
        main = os.path.join(self.own, "main")
        run("mount", "-t", "tmpfs", "-o", "size=1g,mode=1777", "remand-mutants", "/dev/shm")
        places = {"/tmp": "tmp", "/var/tmp": "var", os.path.join(directory, "target/tmp"): "target"}
        for path, name in places.items():
            os.mkdir(os.path.join(main, name))
            os.chmod(os.path.join(main, name), 0o1777 if path.endswith("tmp") else 0o755)
        run("mount", "--bind", os.path.join(self.own, "run"), os.path.join(directory, "run"))
        for path, name in places.items():
            run("mount", "--bind", os.path.join(main, name), path)
        self.cleaned = [os.path.join(main, name) for name in places.values()] + self.mounted[1:] + ["/dev/shm"]
        self.writable = ["/dev/shm", os.path.join(directory, "run"), *places, *self.mounted, os.path.join(self.own, "run")]
        self.close()

    @staticmethod
    def mounts():
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            return [line.split()[4].encode().decode("unicode_escape") for line in file]

    def file_system(self, name, kind, size, *options):
        path = os.path.join(self.own, name)
        os.mkdir(path)
        run("truncate", "-s", size, path + ".img")
        run(f"mkfs.{kind}", "-q", *options, path + ".img")
        run("mount", "-o", "loop,nodev", path + ".img", path)
        self.mounted.append(path)

    def close(self):
        """Makes all else read-only, and looks whether it is."""
        for path in self.mounts():
            if path not in self.writable and not path.startswith(KEPT):
                subprocess.run(["mount", "-o", "remount,bind,ro", path], check=False, stderr=subprocess.DEVNULL)
        for path in ("/", self.directory, os.path.join(self.directory, "tree"), os.path.dirname(__file__), "/dev", "/home", "/root"):
            if os.path.exists(path) and not os.statvfs(path).f_flag & os.ST_RDONLY:
                sys.exit(f"{path} can still be written to")

    def environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
        places = {"BTRFS": "btrfs", "XFS": "xfs", "TINY": "tiny", "TINY_BTRFS": "tiny-btrfs"}
        places = {f"REMAND_TEST_{name}": os.path.join(self.own, path) for name, path in places.items()}
        tree = os.path.join(self.directory, "tree")
        return {**kept, **places, "LC_ALL": "C.UTF-8", "INSTA_UPDATE": "no", "INSTA_WORKSPACE_ROOT": tree, "CARGO_MANIFEST_DIR": tree}

    def clean(self):
        """Removes what a test has left."""
        for path in self.cleaned:
            for name in os.listdir(path):
                left = os.path.join(path, name)
                if name == "lost+found":
                    continue
                subprocess.run(["chattr", "-R", "-i", "-a", left], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                subprocess.run(["rm", "-rf", "--one-file-system", left], check=False, stderr=subprocess.DEVNULL)
                if os.path.lexists(left):
                    shutil.rmtree(left, ignore_errors=True)

    def job(self, active, executable, tests, limit):
        """One run: whether it passed, failed or took too long, how many seconds it took, what it reached, and its last words."""
        place = os.path.join(self.own, "run")
        for name, content in (("active", str(active)), ("reached", "")):
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(content)
        os.chmod(os.path.join(place, "reached"), 0o666)
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "prlimit", f"--as={MEMORY}", "--core=0",
                   "sh", "-c", '"$@"; exit $?', "sh", executable, "--exact", "--test-threads=2", *tests]
        began = time.monotonic()
        child = subprocess.Popen(command, cwd=os.path.join(self.directory, "tree"), env=self.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output, _ = child.communicate(timeout=limit)
            result = "passed" if child.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            result = "timeout"
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
        seconds = time.monotonic() - began
        with open(os.path.join(place, "reached"), "rb") as file:
            numbers = file.read()
        reached = sorted({int.from_bytes(numbers[at:at + 4], "little") for at in range(0, len(numbers), 4)} - {0})
        self.clean()
        return {"result": result, "seconds": round(seconds, 3), "reached": reached, "output": output.decode(errors="replace")[-6000:]}


def main():
    worker = Worker(sys.argv[1], sys.argv[2])
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(worker.job(job["active"], job["executable"], job["tests"], job["limit"])), flush=True)


if __name__ == "__main__":
    main()
