"""Runs commands side by side: each round every command once, so that what the machine does meanwhile hits all of them."""

import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import time


@dataclasses.dataclass
class Run:
    """A command of a row, with what is done before each run of it, unmeasured."""

    name: str
    shell: str
    before: str = ":"


@dataclasses.dataclass
class Row:
    """What is compared: remand's way first, then the others'. `at_most` is the ratio of wall times that is aimed at, to the first other."""

    work: str
    runs: list
    at_most: float = 0
    at_most_cpu: float = 0


@dataclasses.dataclass
class Times:
    """Of one run, in seconds and KiB."""

    wall: float
    cpu: float
    peak_kib: int


def _shell(command):
    return ["bash", "-euo", "pipefail", "-c", command]


def _once(run, cold):
    subprocess.run(_shell(run.before), check=True, stdout=subprocess.DEVNULL)
    os.sync()
    if cold:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3\n")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(_shell(run.shell), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    told = process.stderr.read()
    _, status, own = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        sys.exit(f"{run.name}: status {process.returncode}: {run.shell}\n{told.decode(errors='replace')[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(wall, cpu, own.ru_maxrss)


def measure(row, rounds, cold):
    """The times of each command by its name. Warm, the first round is not counted."""
    times = {run.name: [] for run in row.runs}
    for number in range(rounds + (0 if cold else 1)):
        for run in row.runs:
            once = _once(run, cold)
            if cold or number > 0:
                times[run.name].append(once)
    return times


def lines(row, times, cold):
    """Lines of the table: medians, and the medians of the ratios of remand to each other command in the same round."""
    ours = times[row.runs[0].name]
    for run in row.runs:
        theirs = times[run.name]
        wall, cpu = (statistics.median(getattr(one, what) for one in theirs) for what in ("wall", "cpu"))
        ratios = "| | "
        if run is not row.runs[0]:
            by_wall, by_cpu = (
                statistics.median(getattr(a, what) / max(getattr(b, what), 1e-3) for a, b in zip(ours, theirs))
                for what in ("wall", "cpu")
            )
            ratios = f"| {by_wall:.3f} | {by_cpu:.3f} "
        aim = ""
        if row.at_most and run is row.runs[1]:
            aim = f"{row.at_most:.3f}" + (f", CPU {row.at_most_cpu:.3f}" if row.at_most_cpu else "")
        peak = max(one.peak_kib for one in theirs) / 1024
        work = row.work + (", cold" if cold else "") if run is row.runs[0] else ""
        yield f"| {work} | {run.name} | {wall:.3f} | {cpu:.3f} | {peak:.0f} {ratios}| {aim} |"
