//! Assigns lakes, and kinds of posts in them, to the spouts that replay them.

use std::collections::BTreeSet;

use super::Given;
use crate::error::{Error, Result};
use crate::registry::Config;
use crate::topology::Topology;

/// The lakes and kinds that one spout reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// The lakes, each with `true` if this spout counts the posts of the lake that no spout takes.
    pub globs: Vec<(String, bool)>,
    /// The kinds that it takes; `None` for all.
    pub kinds: Option<Vec<String>>,
}

/// The lakes and kinds that all spouts read.
pub(crate) struct Assignment {
    /// The assignment of each needed spout, in the order of the topology.
    pub of_spouts: Vec<Reads>,
    /// The kinds that any spout takes, whether it is needed or not.
    pub taken: BTreeSet<String>,
}

/// The properties of a spout that matter for the assignment.
struct Spout<'a> {
    id: &'a str,
    needed: bool,
    kinds: Option<Vec<String>>,
}

/// Assigns each lake to the spout that is named for it, or else to all unnamed spouts, of which
/// each takes the posts of its kinds.
///
/// # Errors
/// If a named spout doesn't exist, or if two spouts would take the same posts.
pub(crate) fn assign(topology: &Topology, needed: &[bool], given: &[Given]) -> Result<Assignment> {
    let all =
        topology.components.iter().zip(needed).filter_map(|(spec, needed)| match &spec.config {
            Config::Spout(source) => {
                Some(Spout { id: &spec.id, needed: *needed, kinds: source.kinds() })
            }
            _ => None,
        });
    let all: Vec<Spout<'_>> = all.collect();
    for id in given.iter().filter_map(|given| given.spout.as_ref()) {
        check_name(&all, id)?;
    }
    let is_named =
        |spout: &Spout<'_>| given.iter().any(|given| given.spout.as_deref() == Some(spout.id));
    let others: Vec<_> = all.iter().filter(|spout| spout.needed && !is_named(spout)).collect();
    if let Some(unnamed) = given.iter().find(|given| given.spout.is_none()) {
        check_clear(&others, &all, &unnamed.address)?;
    }
    // A spout that takes posts of any kind leaves no post over.
    let takes_any = |id: &String| all.iter().any(|spout| spout.id == id && spout.kinds.is_none());
    let whole = given.iter().filter(|given| given.spout.as_ref().is_some_and(takes_any));
    let mut counted: BTreeSet<String> = whole.map(|given| given.address.clone()).collect();
    let of_spout = |spout: &Spout<'_>| {
        let named = is_named(spout);
        let mine = given.iter().filter(|given| match &given.spout {
            Some(id) => id == spout.id,
            None => !named,
        });
        let globs = mine
            .map(|given| (given.address.clone(), counted.insert(given.address.clone())))
            .collect();
        // A file's only spout takes everything.
        Reads { globs, kinds: if all.len() == 1 { None } else { spout.kinds.clone() } }
    };
    let of_spouts = all.iter().filter(|spout| spout.needed).map(of_spout).collect();
    Ok(Assignment {
        of_spouts,
        taken: all.iter().flat_map(|spout| spout.kinds.clone().unwrap_or_default()).collect(),
    })
}

fn check_name(all: &[Spout<'_>], id: &str) -> Result<()> {
    match all.iter().find(|spout| spout.id == id) {
        Some(spout) if spout.needed => Ok(()),
        Some(_) => Err(Error::fatal(format!(
            "spout \"{id}\" isn't upstream of the components that --only names"
        ))),
        None => {
            let known: Vec<_> = all.iter().map(|spout| format!("\"{}\"", spout.id)).collect();
            let known = known.join(", ");
            let path = "a path with = in its first name begins with ./";
            Err(Error::fatal(format!(
                "--replay {id}=…: there is no spout \"{id}\", but {known}; {path}"
            )))
        }
    }
}

/// Checks that each post of a lake is for at most one of these spouts.
fn check_clear(spouts: &[&Spout<'_>], all: &[Spout<'_>], address: &str) -> Result<()> {
    let unclear = |why: String, candidates: &[&str]| {
        let ways: Vec<_> = candidates.iter().map(|id| format!("--replay {id}={address}")).collect();
        Err(Error::fatal(format!("{why}: say which one is meant by {}", ways.join(" or "))))
    };
    let ids: Vec<_> = spouts.iter().map(|spout| spout.id).collect();
    if spouts.is_empty() {
        let all: Vec<_> = all.iter().map(|spout| spout.id).collect();
        let all = all.join("\", \"");
        return Err(Error::fatal(format!(
            "\"{address}\" is for no spout: \"{all}\" have lakes of their own"
        )));
    }
    if spouts.len() > 1
        && let Some(any) = spouts.iter().find(|spout| spout.kinds.is_none())
    {
        return unclear(
            format!("spout \"{}\" makes posts of any kind, and isn't the only one", any.id),
            &ids,
        );
    }
    let of = |kind: &str| {
        let makes = |spout: &&&Spout<'_>| spout.kinds.iter().flatten().any(|own| own == kind);
        spouts.iter().filter(makes).map(|spout| spout.id).collect::<Vec<_>>()
    };
    let kinds: BTreeSet<&String> =
        spouts.iter().flat_map(|spout| spout.kinds.iter().flatten()).collect();
    for kind in kinds {
        let makers = of(kind);
        if makers.len() > 1 {
            return unclear(
                format!(
                    "posts of the kind \"{kind}\" are made by \"{}\"",
                    makers.join("\" and \"")
                ),
                &makers,
            );
        }
    }
    Ok(())
}
