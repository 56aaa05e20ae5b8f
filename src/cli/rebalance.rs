//! `rebalance TOPOLOGY COMPONENT=TASKS…`: other numbers of tasks while it runs.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::control::{self, Rebalanced, Request};
use super::exit::{Code, Failure, Outcome};
use super::remote::{Attached, ServerArgs, attach, path_of, print_json};
use super::stdout;
use crate::registry::Registry;
use crate::server;

/// Change the numbers of tasks of a running topology
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "waterspout rebalance <NAME|FILE|--state DIR> <COMPONENT=TASKS>...",
    after_help = "\
Done in place, at a checkpoint: all of them at once, and nothing is lost or counted twice. The topology
file stays as it is: the next `run` takes the numbers in the file. A server keeps the new numbers until the
topology is upgraded."
)]
pub(crate) struct Args {
    /// The topology's name on the server, or the topology file that `run` runs (unless --state is
    /// given), and COMPONENT=TASKS for each component that is to have another number of tasks
    #[arg(required = true, value_name = "NAME|FILE|COMPONENT=TASKS")]
    arguments: Vec<String>,
    /// The state folder that `run` was started with, if that was given
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "token_file"])]
    state: Option<PathBuf>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

type Hints = BTreeMap<String, NonZeroU16>;

/// Asks for it, waits, and prints what was done.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let (topology, hints) = read(&args.arguments, args.state.is_some())
        .map_err(|what| Failure::new(Code::Usage, what))?;
    let done = match attach(topology, args.state.as_deref(), &args.server, registry)? {
        Attached::Socket(state) => control::ask(&state, &Request::Rebalance(hints))?,
        Attached::Server(server, name) => {
            let tasks = hints.into_iter().map(|(id, hint)| (id, hint.get())).collect();
            let asked = server::Rebalance { tasks };
            let done: server::Rebalanced = server.post(&path_of(&name, "rebalance"), &asked)?;
            let change =
                |(id, change): (String, server::TaskChange)| (id, (change.before, change.after));
            let tasks = done.tasks.into_iter().map(change).collect();
            Rebalanced { seconds: done.seconds, tasks }
        }
    };
    if args.json { print_json(&done) } else { stdout::print(&format!("{}\n", line(&done))) }
}

/// The topology file, if there is one, and the numbers. With `--state` there need be no file.
fn read(arguments: &[String], has_state: bool) -> Result<(Option<&str>, Hints), String> {
    let (file, rest) = match arguments.split_first() {
        Some((first, rest)) if !has_state || !first.contains('=') => (Some(first.as_str()), rest),
        _ => (None, arguments),
    };
    let mut hints = Hints::new();
    for text in rest {
        let (id, tasks) = hint(text)?;
        if hints.insert(id.clone(), tasks).is_some() {
            return Err(format!("component \"{id}\" is named twice"));
        }
    }
    if hints.is_empty() {
        Err("expected COMPONENT=TASKS, such as count=4".into())
    } else {
        Ok((file, hints))
    }
}

fn hint(text: &str) -> Result<(String, NonZeroU16), String> {
    let read =
        text.split_once('=').and_then(|(id, tasks)| Some((id.trim(), tasks.trim().parse().ok()?)));
    match read {
        Some((id, tasks)) if !id.is_empty() => Ok((id.to_owned(), tasks)),
        _ => Err(format!("expected COMPONENT=TASKS, such as count=4, found \"{text}\"")),
    }
}

/// `rebalanced in 0.123 s: count 1 → 4, split 1 → 2`.
fn line(done: &Rebalanced) -> String {
    let tasks = done.tasks.iter().map(|(id, (before, after))| format!("{id} {before} → {after}"));
    format!("rebalanced in {:.3} s: {}", done.seconds, tasks.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topology file, and the numbers of tasks by component.
    type Read<'a> = (Option<&'a str>, &'a [(&'a str, u16)]);

    fn check(arguments: &[&str], has_state: bool, expected: Result<Read<'_>, &str>) {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let actual = read(&arguments, has_state);
        let expected = expected.map_err(str::to_owned).map(|(file, hints)| {
            let hint =
                |&(id, tasks): &(&str, u16)| (id.to_owned(), NonZeroU16::new(tasks).unwrap());
            (file, hints.iter().map(hint).collect::<Hints>())
        });
        assert_eq!(actual, expected);
    }

    #[test]
    fn the_first_argument_is_the_file_unless_the_state_is_given() {
        check(&["x.ron", "a=1", "b=2"], false, Ok((Some("x.ron"), &[("a", 1), ("b", 2)])));
        check(&["x=y.ron", "a=1"], false, Ok((Some("x=y.ron"), &[("a", 1)])));
        check(&["a=1", "b=2"], true, Ok((None, &[("a", 1), ("b", 2)])));
        check(&["x.ron", "a=1"], true, Ok((Some("x.ron"), &[("a", 1)])));
    }

    #[test]
    fn what_is_no_number_of_tasks_is_refused() {
        check(&["x.ron"], false, Err("expected COMPONENT=TASKS, such as count=4"));
        check(
            &["x.ron", "a=0"],
            false,
            Err("expected COMPONENT=TASKS, such as count=4, found \"a=0\""),
        );
        check(
            &["x.ron", "a"],
            false,
            Err("expected COMPONENT=TASKS, such as count=4, found \"a\""),
        );
        check(&["x.ron", "a=1", "a=2"], false, Err("component \"a\" is named twice"));
    }

    #[test]
    fn what_was_done_is_one_line() {
        let tasks = [("split".to_owned(), (1, 2)), ("count".to_owned(), (1, 4))].into();
        let done = Rebalanced { seconds: 0.1234, tasks };
        assert_eq!(line(&done), "rebalanced in 0.123 s: count 1 → 4, split 1 → 2");
    }
}
