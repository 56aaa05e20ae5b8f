//! Which spout reads which lake, and which kinds of posts of it.

use std::collections::BTreeSet;

use super::Given;
use crate::error::{Error, Result};
use crate::registry::Config;
use crate::topology::Topology;

/// What one spout reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// The lakes, and of each whether this spout counts there what nobody takes.
    pub globs: Vec<(String, bool)>,
    /// The kinds that it takes; all of them if there are none.
    pub kinds: Option<Vec<String>>,
}

/// What all spouts read.
pub(crate) struct Assignment {
    /// For each needed spout, in the order of the topology.
    pub of_spouts: Vec<Reads>,
    /// The kinds that are some spout's, also of one that isn't needed.
    pub taken: BTreeSet<String>,
}

/// A spout as far as this is concerned.
struct Spout<'a> {
    id: &'a str,
    needed: bool,
    kinds: Option<Vec<String>>,
}

/// Gives each lake to the spouts that it is for: those that are named, or those of its posts' kinds
/// among those that aren't.
///
/// # Errors
/// If a named spout isn't there, or it isn't clear to which one posts go.
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
    // Where somebody takes posts of any kind, none is left over.
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
        // The only spout of a file takes everything.
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
        Some(_) => Err(Error::fatal(format!("spout \"{id}\" isn't needed for what --only names"))),
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

/// Returns true if each post of a lake is for one of these spouts at most.
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
