//! One process: started, listened to, ended.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::{Running, shown};
use crate::clock::Clock;
use crate::model::{Msg, Object, Value};
use crate::runtime::{Cx, NodeError, Status, Step, Then};

/// What is kept of an output that is given at the end, bytes: Node-RED's `execMaxBufferSize`.
const OUTPUT_MAX: usize = 10_000_000;

/// The name of a signal, `SIGTERM` for example.
#[derive(Clone, Debug)]
pub(super) struct Signal(pub(super) String);

/// What a process does.
enum Heard {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Ended { code: Option<i32>, signal: Option<&'static str>, out: Vec<u8>, err: Vec<u8>, over: bool },
}

/// Starts a command and goes on with what it says.
pub(super) fn run(
    line: &str,
    spawn: bool,
    timer: Option<Duration>,
    old_codes: bool,
    running: Running,
    msg: Msg,
    cx: &mut Cx<'_>,
) -> Step {
    let mut command = if spawn { split(line) } else { shell(line) };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return not_started(line, &error, spawn, old_codes, msg, cx),
    };
    let pid = child.id().unwrap_or_default();
    let (kill, signals) = mpsc::unbounded_channel();
    running.lock().unwrap_or_else(|p| p.into_inner()).insert(pid, kill);
    cx.status(shown("blue", format!("pid:{pid}")));
    let (say, heard) = mpsc::channel(16);
    let clock = cx.clock();
    tokio::spawn(async move {
        let ended = listen(child, spawn, timer, signals, clock, &say).await;
        running.lock().unwrap_or_else(|p| p.into_inner()).remove(&pid);
        // Nobody hears it when the run was ended.
        let _ = say.send(ended).await.is_ok();
    });
    if spawn { as_it_comes(heard, msg, old_codes) } else { at_the_end(heard, line.to_string(), msg, old_codes) }
}

/// Words as Node-RED splits them; quotes around a whole word are taken off.
fn split(line: &str) -> Command {
    let mut words = words(line).into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let bare = |word: String| match word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(bare) => bare.to_string(),
        None => word,
    };
    words.into_iter().map(bare).collect()
}

fn shell(line: &str) -> Command {
    let shell = if std::path::Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut command = Command::new(shell);
    command.arg("-c").arg(line);
    command
}

fn not_started(
    line: &str,
    error: &std::io::Error,
    spawn: bool,
    old_codes: bool,
    mut msg: Msg,
    cx: &mut Cx<'_>,
) -> Step {
    if !spawn {
        return Step::fail(msg, NodeError::new(format!("the command cannot be started: {error}")));
    }
    // Node.js' code of a command that is not there.
    let mut code = Object::new();
    code.insert("code", -2.0);
    msg.set("payload", if old_codes { Value::Number(-2.0) } else { code.into() });
    cx.status(shown("red", "rc:-2"));
    cx.warn(format!("{}: {error}", words(line).first().cloned().unwrap_or_default()));
    cx.emit(2, msg);
    Step::Done
}

async fn listen(
    mut child: Child,
    spawn: bool,
    timer: Option<Duration>,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    clock: Clock,
    say: &mpsc::Sender<Heard>,
) -> Heard {
    let pid = child.id().unwrap_or_default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        tokio::join!(
            read(stdout, spawn.then_some((say, Heard::Out as fn(Vec<u8>) -> Heard))),
            read(stderr, spawn.then_some((say, Heard::Err as fn(Vec<u8>) -> Heard))),
        )
    };
    let late = clock.sleep(timer.unwrap_or(Duration::MAX));
    tokio::pin!(reading, late);
    let mut over = false;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut read_all, mut timed_out) = (false, false);
    loop {
        tokio::select! {
            (first, second) = &mut reading, if !read_all => {
                read_all = true;
                over = first.1 || second.1;
                (out, err) = (first.0, second.0);
                if over {
                    send_signal(pid, "SIGTERM").await;
                }
            }
            signal = signals.recv() => match signal {
                Some(signal) => send_signal(pid, &signal.0).await,
                // The node was closed and has told it to end already.
                None => std::future::pending().await,
            },
            () = &mut late, if !timed_out => {
                timed_out = true;
                send_signal(pid, "SIGTERM").await;
            }
            status = child.wait(), if read_all => {
                let (code, signal) = status.map(ended).unwrap_or((None, None));
                return Heard::Ended { code, signal, out, err, over };
            }
        }
    }
}

/// Whom to tell of a piece of output, and as what.
type Say<'a> = (&'a mpsc::Sender<Heard>, fn(Vec<u8>) -> Heard);

/// Reads an output to its end; says what comes, or keeps it up to a limit. True when it was more than that.
async fn read(output: Option<impl AsyncRead + Unpin>, say: Option<Say<'_>>) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let Some(mut output) = output else { return (all, false) };
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = output.read(&mut piece).await {
        match say {
            Some((say, heard)) => drop(say.send(heard(piece[..count].to_vec())).await),
            None if all.len() + count > OUTPUT_MAX => return (all, true),
            None => all.extend_from_slice(&piece[..count]),
        }
    }
    (all, false)
}

/// Signals a process by `kill`, which every system has: sending one oneself would need code that is not safe.
async fn send_signal(pid: u32, signal: &str) {
    let name = signal.trim_start_matches("SIG");
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status().await;
    if let Err(error) = sent {
        tracing::warn!(pid, "a process could not be sent {signal}: {error}");
    }
}

fn ended(status: ExitStatus) -> (Option<i32>, Option<&'static str>) {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|number| match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        6 => "SIGABRT",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => "SIGUNKNOWN",
    });
    (status.code(), signal)
}

/// Text if it is UTF-8, else bytes.
fn text_or_bytes(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => Value::Bytes(error.into_bytes().into()),
    }
}

fn code_value(code: Option<i32>) -> Value {
    code.map_or(Value::Null, |code| Value::Number(f64::from(code)))
}

/// Each piece of output is a message; the exit code comes last.
fn as_it_comes(mut heard: mpsc::Receiver<Heard>, msg: Msg, old_codes: bool) -> Step {
    Step::wait(async move {
        let next = heard.recv().await;
        Box::new(move |cx: &mut Cx<'_>| {
            let mut out = msg.clone();
            match next {
                Some(Heard::Out(bytes)) => {
                    out.set("payload", text_or_bytes(bytes));
                    cx.emit(0, out);
                    as_it_comes(heard, msg, old_codes)
                }
                Some(Heard::Err(bytes)) => {
                    out.set("payload", text_or_bytes(bytes));
                    cx.emit(1, out);
                    as_it_comes(heard, msg, old_codes)
                }
                Some(Heard::Ended { code, signal, .. }) => {
                    let mut told = Object::new();
                    told.insert("code", code_value(code));
                    if let Some(signal) = signal {
                        told.insert("signal", signal);
                    }
                    out.set("payload", if old_codes { code_value(code) } else { told.into() });
                    cx.status(match code {
                        Some(0) => Status::default(),
                        None => shown("red", "killed"),
                        Some(code) if code < 0 => shown("red", format!("rc:{code}")),
                        Some(code) => shown("yellow", format!("rc:{code}")),
                    });
                    cx.emit(2, out);
                    Step::Done
                }
                None => Step::fail(msg, "the process was lost"),
            }
        }) as Then
    })
}

/// Output, error output and exit code as three messages at the end.
fn at_the_end(mut heard: mpsc::Receiver<Heard>, line: String, mut msg: Msg, old_codes: bool) -> Step {
    Step::wait(async move {
        let ended = heard.recv().await;
        Box::new(move |cx: &mut Cx<'_>| {
            let Some(Heard::Ended { code, signal, out, err, over }) = ended else {
                return Step::fail(msg, "the process was lost");
            };
            msg.remove("payload");
            let failed = code != Some(0) || over;
            let told = (failed || !old_codes).then(|| {
                let mut told = Object::new();
                told.insert("code", code_value(code));
                if failed {
                    let text = if over {
                        "stdout maxBuffer length exceeded".into()
                    } else {
                        format!("Command failed: {line}\n{}", String::from_utf8_lossy(&err))
                    };
                    told.insert("message", text);
                }
                if let Some(signal) = signal {
                    told.insert("signal", signal);
                }
                Value::from(told)
            });
            cx.status(match code {
                Some(0) => Status::default(),
                None => shown("red", "killed"),
                Some(code) => shown("red", format!("error:{code}")),
            });
            let mut first = msg.clone();
            first.set("payload", text_or_bytes(out));
            let mut second = (!err.is_empty()).then(|| {
                let mut second = msg.clone();
                second.set("payload", text_or_bytes(err));
                second
            });
            if let Some(told) = &told {
                first.set("rc", told.clone());
                if let Some(second) = &mut second {
                    second.set("rc", told.clone());
                }
            }
            cx.emit(0, first);
            if let Some(second) = second {
                cx.emit(1, second);
            }
            if let Some(told) = told {
                msg.set("payload", told);
                cx.emit(2, msg);
            }
            Step::Done
        }) as Then
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_node_red_splits_them() {
        for (line, expected) in [
            ("ls -l", &["ls", "-l"][..]),
            ("echo  \"a b\" c", &["echo", "a b", "c"]),
            ("echo x=\"a b\"", &["echo", "x=\"a b\""]),
            ("", &[]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
