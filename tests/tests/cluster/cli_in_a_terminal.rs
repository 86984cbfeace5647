//! `simplekv-cli` as a person meets it: on a terminal, with its prompt, and with what was typed the last time.

use simplekv_tests::{Cluster, Shape, program};
use tokio::process::Command;

/// Types into the program on a terminal of its own. The terminal has to answer where its cursor is.
const PYTHON: &str = r"
import os, pty, re, select, sys, time
program, port, state = sys.argv[1:]

def session(keys):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(XDG_STATE_HOME=state, TERM='xterm')
        os.execv(program, [program, '-p', port])
    seen = b''
    def plain():
        # Without colours and movements.
        return re.sub(rb'\x1b(\[[0-9;?]*[A-Za-z]|[78])', b'', seen)
    def until(what, start):
        nonlocal seen
        deadline = time.monotonic() + 20
        while what not in plain()[start:]:
            if time.monotonic() > deadline:
                raise SystemExit(f'waited for {what!r}, saw {seen!r}')
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:
                raise SystemExit(f'it ended before {what!r}: {seen!r}')
            for _ in range(data.count(b'\x1b[6n')):
                os.write(terminal, b'\x1b[1;1R')
            seen += data
    prompt = f'127.0.0.1:{port}> '.encode()
    until(prompt, 0)
    for typed, expected, *then in keys:
        start = len(plain())
        os.write(terminal, typed)
        until(expected, start)
        # What comes after it: a prompt, unless the line is not finished.
        until(then[0] if then else prompt, plain().index(expected, start))
    os.write(terminal, b'\x04')
    deadline = time.monotonic() + 20
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            raise SystemExit('it does not end')
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:
                pass

assert session([(b'set hello fortytwo\r', b'OK'), (b'get hello\r', b'\nfortytwo')]) == 0
# The second time nothing is typed but the key that goes back.
assert session([(b'\x1b[A\r', b'\nfortytwo')]) == 0
# The prompt shows what reads are promised, and what may not be written down is not; Tab knows commands, Ctrl-C gives up a line.
assert session([
    (b':read any\r', b'\nreads are any from now on', b' any> '),
    (b'\x20get hello\r', b'\nfortytwo', b' any> '),
    (b'AUTH secret\r', b'\n(error)', b' any> '),
    (b'getde\t', b'getdel', b''),
    (b'hello\r', b'\nfortytwo', b' any> '),
    (b'half a line', b'half a line', b''),
    (b'\x03', b'\n', b' any> '),
    (b':read linearizable\r', b'\nreads are linearizable from now on'),
]) == 0
print('fine')
";

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_names_the_server_and_the_history_outlives_the_program() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let (_, port) = cluster.nodes[0].resp.rsplit_once(':').unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).arg(program("simplekv-cli").unwrap()).arg(port).arg(state.path()).kill_on_drop(true);
    let output = python.output().await.unwrap_or_else(|error| panic!("python3: {error}"));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "fine", "{complained}");
    let history = std::fs::read_to_string(state.path().join("simplekv/history")).unwrap();
    let kept = ["set hello fortytwo", "get hello", ":read any", "getdel hello", ":read linearizable"];
    assert_eq!(history.lines().collect::<Vec<_>>(), kept);
}
