//! What `simplekv-bench failover` and `blackout` promise, in short.

use simplekv_tests::program;
use tokio::process::Command;

/// Runs the program; what it printed, line by line.
async fn bench(line: &str) -> Vec<String> {
    let mut command = Command::new(program("simplekv-bench").unwrap());
    let output = command.args(line.split(' ')).kill_on_drop(true).output().await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}{complained}");
    assert!(output.status.success(), "{line}: {}", output.status);
    said.lines().map(str::to_owned).collect()
}

/// The numbers of a line that consists of these names with a number each.
fn numbers<const N: usize>(line: &str, names: [&str; N]) -> [u64; N] {
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields.len(), N, "{line}");
    let mut fields = fields.into_iter();
    names.map(|name| {
        let (found, number) = fields.next().and_then(|field| field.split_once('=')).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(found, name, "{line}");
        number.parse().unwrap_or_else(|_| panic!("{line}"))
    })
}

/// Runs `failover` and checks each line it prints: one for each kill, the verdict with the gaps, and those of the controller.
async fn failover(kills: usize, controller_kills: u64, flags: &str) {
    let said = bench(&format!("failover --kills {kills} --controller-kills {controller_kills}{flags}")).await;
    assert_eq!(said.len(), kills + 2, "{said:?}");
    let [.., verdict, controller] = &said[..] else { panic!("{said:?}") };
    for (number, line) in (1..).zip(&said[..kills]) {
        assert!(line.starts_with(&format!("kill {number}: n")) && line.contains("no write for "), "{line}");
    }
    let names = ["acked", "lost", "duplicated", "client_errors", "gap_p50_ms", "gap_max_ms"];
    let [acked, lost, duplicated, errors, median, longest] = numbers(verdict, names);
    assert!(acked > 0 && (lost, duplicated, errors) == (0, 0, 0), "{verdict}");
    // A death is noticed after a lease of a second at the earliest, and nobody waits for a minute.
    assert!(0 < median && median <= longest && longest < 60_000, "{verdict}");
    let names = ["controller_kills", "controller_gap_p50_ms", "controller_gap_max_ms"];
    let [hits, median, longest] = numbers(controller, names);
    assert!(hits >= controller_kills && median <= longest && (hits == 0 || longest > 0), "{controller}");
}

/// Runs `blackout`, in which etcd dies with the nodes the first time, and checks its verdict.
async fn blackout(flags: &str) {
    let said = bench(&format!("blackout --times 2{flags}")).await;
    let [first, second, verdict] = &said[..] else { panic!("{said:?}") };
    assert!(first.starts_with("blackout 1 (etcd as well): every group works again after "), "{first}");
    assert!(second.starts_with("blackout 2: every group works again after "), "{second}");
    let [acked, lost, duplicated, errors] = numbers(verdict, ["acked", "lost", "duplicated", "client_errors"]);
    assert!(acked > 0 && (lost, duplicated, errors) == (0, 0, 0), "{verdict}");
}

#[tokio::test]
async fn killed_leaders_lose_nothing() {
    failover(3, 1, "").await;
}

#[tokio::test]
async fn killed_leaders_lose_nothing_that_was_not_flushed() {
    failover(2, 0, " --flush replicated").await;
}

/// G7: what a process acknowledged outlives it, and everybody else, at once.
#[tokio::test]
async fn everything_killed_at_once_loses_nothing() {
    blackout("").await;
}

#[tokio::test]
async fn everything_killed_at_once_loses_nothing_that_was_not_flushed() {
    blackout(" --flush replicated").await;
}
