//! Runs a program under ptrace(2), with all that it starts, tells the steps at which something changes, and makes one of them go wrong.
//!
//! The program knows nothing of it. Only the calling thread traces: several tests can do so at the same time.

pub(crate) mod call;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use call::{Call, Places};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::WaitOptions;

/// The program under test, where it is not the command itself.
const REMAND: &str = env!("CARGO_BIN_EXE_remand");
/// A run that takes longer hangs. In an emulated machine each step takes its time.
const LONGEST: Duration = Duration::from_secs(300);
/// What marks the signal of a thread that stands before or behind a system call.
const AT_CALL: libc::c_int = 0x80;

/// One system call that changes something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// The call and what it works on.
    pub(crate) name: String,
    /// How many of that name came before it.
    pub(crate) earlier: usize,
    /// Whether a program that the program has started makes it.
    pub(crate) by_child: bool,
    /// Whether it may write less than it is asked to.
    pub(crate) writes: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.name, self.earlier)
    }
}

/// What goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call is not made, and fails.
    Fails(Errno),
    /// Half is written, and the next write there fails.
    Torn,
    /// All is killed before the call.
    KilledBefore,
    /// All is killed after the call.
    KilledAfter,
    /// The program gets a signal.
    Signalled(Signal),
    /// The program that makes the call is killed; not the one under test.
    ChildKilled,
    /// The program that makes the call ends with status 1; not the one under test.
    ChildFails,
}

/// A fault at a step.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) step: Step,
    pub(crate) fault: Fault,
}

/// How a traced run ended.
#[derive(Debug)]
pub(crate) struct Traced {
    /// Exit status; of a signal, its negative number.
    pub(crate) status: i32,
    /// Whether the planned step was reached.
    pub(crate) hit: bool,
    /// The steps until the fault.
    pub(crate) steps: Vec<Step>,
    /// Whether it had to be ended from outside.
    pub(crate) hung: bool,
}

/// Runs `command`, with its standard output and error in these files.
pub(crate) fn run(command: &Command, out: &File, err: &File, places: &Places, plan: Option<&Plan>) -> Traced {
    // It waits until it is traced.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "read go; exec \"$@\" </dev/null", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
        .stdin(Stdio::piped())
        .stdout(out.try_clone().expect("a file"))
        .stderr(err.try_clone().expect("a file"));
    // The tracer hears of its end.
    #[allow(clippy::zombie_processes)]
    let mut child = shell.spawn().expect("sh");
    let main = Pid::from_raw(i32::try_from(child.id()).expect("a process"));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).expect("ptrace");
    ptrace::interrupt(main).expect("ptrace");
    child.stdin.take().expect("a pipe").write_all(b"\n").expect("a line");
    let (ended, watch) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = watch.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill(main, Signal::SIGKILL);
        }
        hangs
    });
    let outer = command.get_args().any(|word| word == REMAND);
    let mut tracer = Tracer {
        program: outer.then_some(Path::new(REMAND)),
        main,
        places,
        plan,
        status: None,
        begun: false,
        hit: false,
        killing: false,
        letting_go: false,
        torn: None,
        seen: HashMap::new(),
        steps: Vec::new(),
        threads: BTreeSet::new(),
        results: HashMap::new(),
    };
    tracer.follow();
    drop(ended);
    let hung = watchdog.join().expect("the watchdog");
    Traced { status: tracer.status.expect("an end"), hit: tracer.hit, steps: tracer.steps, hung }
}

/// What a thread's call that was entered is to end with.
enum AtEnd {
    /// This, and then nothing more is to be done.
    Returns(i64),
    /// These registers but for the result, which are the ones that it was made with: the program relies on them.
    Restores(Box<libc::user_regs_struct>),
    /// The death of all.
    Death,
}

#[allow(clippy::struct_excessive_bools)] // what has happened so far, each by itself
struct Tracer<'a> {
    main: Pid,
    /// The program under test, where another one starts it.
    program: Option<&'a Path>,
    places: &'a Places,
    plan: Option<&'a Plan>,
    status: Option<i32>,
    /// Whether the program itself runs, and no longer the shell.
    begun: bool,
    hit: bool,
    killing: bool,
    /// Whether all has happened that was to: the rest runs untraced.
    letting_go: bool,
    /// The next write of this process to this descriptor fails.
    torn: Option<(Pid, u64)>,
    seen: HashMap<String, usize>,
    steps: Vec<Step>,
    /// All that are traced.
    threads: BTreeSet<Pid>,
    results: HashMap<Pid, AtEnd>,
}

/// Lets a stopped thread go on, and gives it a signal, or none. By number: zfs(8) cancels its threads by a real-time signal, which nix has
/// no name for.
#[allow(unsafe_code)]
fn go_on(pid: Pid, request: libc::c_uint, signal: libc::c_int) -> nix::Result<libc::c_long> {
    // SAFETY: these requests take numbers, and nothing of this process's memory.
    Errno::result(unsafe { libc::ptrace(request, pid.as_raw(), 0, signal) })
}

impl Tracer<'_> {
    fn follow(&mut self) {
        let threads = WaitOptions::from_bits_retain((libc::__WALL | libc::__WNOTHREAD).cast_unsigned());
        loop {
            let (pid, status) = match rustix::process::wait(threads) {
                Err(rustix::io::Errno::CHILD) => return,
                Err(rustix::io::Errno::INTR) | Ok(None) => continue,
                Err(error) => panic!("wait4: {error}"),
                Ok(Some((pid, status))) => (Pid::from_raw(pid.as_raw_pid()), status.as_raw()),
            };
            if libc::WIFEXITED(status) {
                self.gone(pid, libc::WEXITSTATUS(status));
            } else if libc::WIFSIGNALED(status) {
                self.gone(pid, -libc::WTERMSIG(status));
            } else if libc::WIFSTOPPED(status) {
                self.meet(pid);
                self.stopped(pid, libc::WSTOPSIG(status), status >> 16);
            }
        }
    }

    /// `event` is what ptrace(2) has to say besides the signal, or 0.
    fn stopped(&mut self, pid: Pid, signal: libc::c_int, event: libc::c_int) {
        if signal == libc::SIGTRAP | AT_CALL {
            // It may have been killed by another thread meanwhile: then there is nothing to trace.
            if let Err(error) = self.at_call(pid) {
                assert_eq!(error, Errno::ESRCH);
            }
            self.resume(pid, 0);
        } else if event == 0 {
            self.resume(pid, signal);
        } else {
            self.begun |= event == libc::PTRACE_EVENT_EXEC && self.is_program();
            self.resume(pid, 0);
        }
    }

    /// Whether the program under test runs, and not what starts it.
    fn is_program(&self) -> bool {
        let Some(program) = self.program else { return true };
        std::fs::read_link(format!("/proc/{}/exe", self.main)).is_ok_and(|runs| runs == program)
    }

    fn gone(&mut self, pid: Pid, status: i32) {
        self.threads.remove(&pid);
        self.results.remove(&pid);
        if pid == self.main {
            self.status = Some(status);
        }
    }

    fn meet(&mut self, pid: Pid) {
        self.threads.insert(pid);
        if self.killing {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    fn resume(&self, pid: Pid, signal: libc::c_int) {
        let detach = self.letting_go && !self.results.contains_key(&pid);
        let request = if detach { libc::PTRACE_DETACH } else { libc::PTRACE_SYSCALL };
        let resumed = go_on(pid, request, signal);
        assert!(matches!(resumed, Ok(_) | Err(Errno::ESRCH)), "{resumed:?}");
    }

    fn at_call(&mut self, pid: Pid) -> nix::Result<()> {
        if !self.begun || self.killing {
            return Ok(());
        }
        match ptrace::syscall_info(pid)?.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY if !self.letting_go => self.enter(pid),
            libc::PTRACE_SYSCALL_INFO_EXIT => self.leave(pid),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, pid: Pid) -> nix::Result<()> {
        match self.results.remove(&pid) {
            None => {}
            Some(AtEnd::Death) => self.kill_all(),
            Some(AtEnd::Restores(before)) => {
                let rax = ptrace::getregs(pid)?.rax;
                ptrace::setregs(pid, libc::user_regs_struct { rax, ..*before })?;
            }
            Some(AtEnd::Returns(value)) => {
                let mut registers = ptrace::getregs(pid)?;
                registers.rax = value.cast_unsigned();
                ptrace::setregs(pid, registers)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, pid: Pid) -> nix::Result<()> {
        let registers = ptrace::getregs(pid)?;
        let libc::user_regs_struct { rdi, rsi, rdx, r10, r8, r9, orig_rax, .. } = registers;
        let call = Call { number: orig_rax.cast_signed(), arguments: [rdi, rsi, rdx, r10, r8, r9] };
        if let Some((process, fd)) = self.torn {
            if call.length_argument().is_some() && call.written() == fd && process_of(pid) == process {
                self.letting_go = true;
                return self.fail(pid, registers, Errno::EIO);
            }
            return Ok(());
        }
        if !call.is_known() {
            return Ok(());
        }
        let process = process_of(pid);
        let Some(name) = call.name(pid, process, self.main, self.places) else { return Ok(()) };
        let seen = self.seen.entry(name.clone()).or_default();
        let (by_child, writes) = (process != self.main, call.length_argument().is_some());
        let step = Step { name, earlier: *seen, by_child, writes };
        *seen += 1;
        let plan = self.plan.filter(|plan| plan.step.name == step.name && plan.step.earlier == step.earlier);
        self.steps.push(step);
        match plan {
            Some(plan) if !self.hit => {
                self.hit = true;
                self.letting_go = true;
                self.apply(plan.fault, (pid, process), &call, registers)
            }
            _ => Ok(()),
        }
    }

    fn apply(
        &mut self,
        fault: Fault,
        (pid, process): (Pid, Pid),
        call: &Call,
        mut registers: libc::user_regs_struct,
    ) -> nix::Result<()> {
        match fault {
            Fault::Fails(errno) => self.fail(pid, registers, errno),
            Fault::Torn => {
                let Some(at) = call.length_argument() else { return self.fail(pid, registers, Errno::EIO) };
                let half = call.arguments[at] / 2;
                if half == 0 {
                    return self.fail(pid, registers, Errno::EIO);
                }
                self.results.insert(pid, AtEnd::Restores(Box::new(registers)));
                match at {
                    2 => registers.rdx = half,
                    3 => registers.r10 = half,
                    _ => registers.r8 = half,
                }
                self.letting_go = false;
                self.torn = Some((process, call.written()));
                ptrace::setregs(pid, registers)
            }
            Fault::KilledBefore => {
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers)?;
                self.kill_all();
                Ok(())
            }
            Fault::KilledAfter => {
                self.letting_go = false;
                self.results.insert(pid, AtEnd::Death);
                Ok(())
            }
            Fault::Signalled(signal) => kill(self.main, signal),
            Fault::ChildKilled => kill(process, Signal::SIGKILL),
            Fault::ChildFails => {
                registers.orig_rax = libc::SYS_exit_group.cast_unsigned();
                registers.rdi = 1;
                ptrace::setregs(pid, registers)
            }
        }
    }

    /// Lets a call that was entered fail without being made.
    fn fail(&mut self, pid: Pid, mut registers: libc::user_regs_struct, errno: Errno) -> nix::Result<()> {
        registers.orig_rax = u64::MAX;
        ptrace::setregs(pid, registers)?;
        self.results.insert(pid, AtEnd::Returns(-i64::from(errno as i32)));
        Ok(())
    }

    fn kill_all(&mut self) {
        (self.killing, self.letting_go) = (true, false);
        for pid in &self.threads {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }
}

/// The process that a thread is of.
fn process_of(thread: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let id = status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|id| id.trim().parse().ok());
    Pid::from_raw(id.unwrap_or(thread.as_raw()))
}
