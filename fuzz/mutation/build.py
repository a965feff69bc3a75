"""The instrumented copy of the tree, and what is built of it."""

import json
import os
import shutil
import subprocess
import sys

from schemata import Source, blamed, deleted_together, marked

OPTIONS = ["--config", "profile.dev.package.remand.opt-level=0"]
ENVIRONMENT = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_INCREMENTAL": "1"}
# What the branches of mutants look like is nobody's business.
LENIENT = "#![allow(warnings, missing_docs, clippy::all, arithmetic_overflow, unconditional_panic, overflowing_literals)]\n"

# Which mutant is active is read from a file of a fixed place, since the tests give the program an environment of its own. Where it says
# `record`, the numbers of all that are reached are written to the other file; at once, since a process may be killed.
MODULE = r"""
use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

const RECORD: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX;

static ACTIVE: AtomicU32 = AtomicU32::new(UNKNOWN);
static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
static LOG: OnceLock<File> = OnceLock::new();

#[inline]
pub fn is(number: u32) -> bool {
    let active = ACTIVE.load(Relaxed);
    active == number || active >= RECORD && rarely(number, active)
}

/// Before a thread gives up the right to open files.
pub fn start() {
    is(0);
}

#[cold]
fn rarely(number: u32, mut active: u32) -> bool {
    if active == UNKNOWN {
        let text = std::fs::read_to_string("PLACE/active").expect("which mutant is active");
        active = text.parse().unwrap_or(RECORD);
        if active == RECORD {
            LOG.get_or_init(|| File::options().append(true).open("PLACE/reached").expect("a file for what is reached"));
        }
        ACTIVE.store(active, Relaxed);
    }
    if active == RECORD && !REACHED[number as usize].swap(true, Relaxed) {
        let mut log = LOG.wait();
        log.write_all(&number.to_le_bytes()).expect("room for what is reached");
    }
    active == number
}
"""


def write(path, content):
    """Writes it where it differs: what is the same keeps its time, and is not built again."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or open(path, "rb").read() != content:
        with open(path, "wb") as file:
            file.write(content)


class Build:
    """The tree with all mutants in it, below `directory`."""

    def __init__(self, directory, mutants, anew):
        self.tree = os.path.join(directory, "tree")
        self.place = os.path.join(directory, "run")
        self.environment = {**os.environ, **ENVIRONMENT, "CARGO_TARGET_DIR": os.path.join(directory, "target")}
        self.unbuilt = {}
        os.makedirs(self.place, exist_ok=True)
        write(os.path.join(self.place, "active"), b"0")
        self.sources = {}
        for name in sorted({mutant["file"] for mutant in mutants} if anew else ()):
            with open(name, "rb") as file:
                self.sources[name] = Source(file.read(), [mutant for mutant in mutants if mutant["file"] == name])
            self.unbuilt.update({number: f"schema: {why}" for number, why in self.sources[name].unfit.items()})
        if anew:
            self.copy(len(mutants) + 1)

    def copy(self, count):
        files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, stdout=subprocess.PIPE)
        files = {name for name in files.stdout.decode().split("\0") if name and os.path.exists(name)}
        for name in files - set(self.sources):
            with open(name, "rb") as file:
                content = file.read()
            if name in ("src/lib.rs", "src/main.rs"):
                content = LENIENT.encode() + content
            if name == "src/lib.rs":
                content += b"\n#[doc(hidden)]\npub mod mutant;\n"
            if name == "src/main.rs":
                content = content.replace(b"cli::main()", b"{ remand::mutant::start(); cli::main() }")
            write(os.path.join(self.tree, name), content)
            shutil.copymode(name, os.path.join(self.tree, name))
        module = MODULE.replace("COUNT", str(count)).replace("PLACE", self.place)
        write(os.path.join(self.tree, "src/mutant.rs"), module.encode())
        # Files that are gone would still be found, as tests.
        for parent, _, names in os.walk(os.path.join(self.tree, "tests")):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.relpath(path, self.tree) not in files:
                    os.unlink(path)

    def cargo(self, *arguments):
        command = ["cargo", *arguments[:1], *OPTIONS, *arguments[1:], "-p", "remand", "--message-format=json"]
        done = subprocess.run(command, cwd=self.tree, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode == 0, [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")], done.stderr

    def settle(self, tell):
        """Leaves mutants out until the rest can be built, and tells of them."""
        while True:
            texts = {name: source.instrumented(frozenset(self.unbuilt)) for name, source in self.sources.items()}
            for name, text in texts.items():
                write(os.path.join(self.tree, name), text)
            built, messages, trouble = self.cargo("test", "--no-run", "--lib")
            if built:
                return
            found = dict(self.faults(messages, texts))
            if not found:
                sys.exit("the copy cannot be built:\n" + self.complaints(messages) + trouble.decode())
            print(f"{len(found)} mutants cannot be built", flush=True)
            self.unbuilt.update(found)
            tell()

    @staticmethod
    def complaints(messages):
        errors = [m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"]
        return "".join(errors[:5])

    def faults(self, messages, texts):
        """The mutants that the compiler's messages are about, with what it says."""
        marks = {}
        for message in messages:
            if message["reason"] != "compiler-message" or message["message"]["level"] != "error":
                continue
            message = message["message"]
            code = (message["code"] or {}).get("code", "")
            spans = list(message["spans"])
            spans += [span for child in message["children"] for span in child["spans"]]
            for span in sorted(spans, key=lambda span: not span["is_primary"]):
                while span["file_name"] not in texts and span.get("expansion"):
                    span = span["expansion"]["span"]
                name = span["file_name"]
                if name not in texts:
                    continue
                if name not in marks:
                    marks[name] = marked(texts[name])
                if code == "E0004":
                    arms = deleted_together(self.sources[name], marks[name], span["byte_end"])
                    yield from ((number, f"schema: {code} {message['message']}") for number in arms if number not in self.unbuilt)
                    break
                found = blamed(marks[name], span["byte_start"], span["byte_end"])
                if found is None:
                    continue
                number, itself = found
                yield number, f"{'itself' if itself else 'schema'}: {code} {message['message']}"
                break

    def executables(self, names):
        """Builds the tests and the program; returns test executables by their names, or those of some names."""
        built, messages, trouble = self.cargo("test", "--no-run", *self.chosen(names or ()))
        if not built:
            sys.exit("the tests cannot be built:\n" + self.complaints(messages) + trouble.decode())
        return self.tests_of(messages)

    @staticmethod
    def chosen(names):
        """Arguments for cargo."""
        wanted = {"remand": ["--lib"], "remand-bin": ["--bins"]}
        return [word for name in names for word in wanted.get(name, ["--test", name])]

    @staticmethod
    def tests_of(messages):
        """Test executables by their names: `remand` are the unit tests of the library, `remand-bin` those of the program."""
        tests = [m for m in messages if m.get("executable") and m["profile"]["test"]]
        return {m["target"]["name"] + ("-bin" if "bin" in m["target"]["kind"] else ""): m["executable"] for m in tests}

    def alone(self, mutant, names):
        """Builds the unit tests, or the tests of some names, and the program with one mutant that is always active; None where that cannot
        be done."""
        name = mutant["file"]
        text = self.sources[name].instrumented(frozenset(self.unbuilt) - {mutant["number"]}, mutant["number"])
        # Such as `||` between the conditions of an `if let`: there is no such program.
        if b"/*{%d*/" % mutant["number"] not in text:
            return None
        write(os.path.join(self.tree, name), text)
        try:
            built, messages, _ = self.cargo("test", "--no-run", *self.chosen(names or ("remand", "remand-bin")))
            if not built:
                return None
            return self.tests_of(messages)
        finally:
            write(os.path.join(self.tree, name), self.sources[name].instrumented(frozenset(self.unbuilt)))
