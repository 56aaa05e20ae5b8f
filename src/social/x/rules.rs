//! The stream's rules, kept equal to the topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::post::fields::{elements, get, id_text, pick, string};
use crate::social::{Asking, Feed};

use super::answer::{Verdict, judge};
use super::api::{Answer, Api};
use super::known::{Known, RULES, name};
use super::reconnect::{Reconnect, Trouble};
use super::translate::{Rule, is_ours, rules};
use super::{Mode, OtherRules, X};

/// The part of the source for reading the list of rules, as people see it.
const LIST: &str = "list of the rules";

/// The number of rules that one call changes.
const AT_ONCE: usize = 100;

/// The time until a new rule is in force.
pub(super) const TAKE: Duration = Duration::from_secs(20);

/// A rule that X has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct There {
    id: String,
    value: String,
    tag: String,
}

impl There {
    fn read(rule: &[u8]) -> Option<Self> {
        let [id, value, tag] = pick(rule, ["id", "value", "tag"]);
        let text = |value: Option<&[u8]>| value.and_then(string).unwrap_or_default().into_owned();
        Some(Self { id: id.and_then(id_text)?.into_owned(), value: text(value), tag: text(tag) })
    }

    fn name(&self) -> u64 {
        name(&self.value, &self.tag)
    }

    fn number(&self) -> Option<u64> {
        self.id.parse().ok()
    }
}

/// The change that makes the rules equal to the topics.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change<'a> {
    delete: Vec<&'a str>,
    add: Vec<&'a Rule>,
    /// The tags of rules that this program made but this source didn't: another topology's, or an
    /// earlier one's.
    foreign: Vec<&'a str>,
}

/// Returns the change of the rules. A tag can't be changed, so a rule with another tag is another
/// rule.
fn change<'a>(
    wanted: &'a [Rule],
    there: &'a [There],
    made: &BTreeSet<u64>,
    others: OtherRules,
) -> Change<'a> {
    let mut add: Vec<_> = wanted.iter().collect();
    let (mut delete, mut foreign) = (Vec::new(), Vec::new());
    for one in there {
        let wanted = add.iter().position(|rule| rule.tag == one.tag && rule.value == one.value);
        if let Some(at) = wanted {
            add.remove(at);
        } else if made.contains(&one.name()) || others == OtherRules::Remove {
            delete.push(one.id.as_str());
        } else if is_ours(&one.tag) {
            foreign.push(one.tag.as_str());
        }
    }
    Change { delete, add, foreign }
}

/// Returns true if a promised rule is there under another id only: then it was missing for a while.
fn was_gone(promised: &BTreeMap<u64, Option<u64>>, there: &[There]) -> bool {
    let mut ids: BTreeMap<u64, Vec<Option<u64>>> = BTreeMap::new();
    there.iter().for_each(|one| ids.entry(one.name()).or_default().push(one.number()));
    promised
        .iter()
        .any(|(name, id)| id.is_some() && ids.get(name).is_some_and(|ids| !ids.contains(id)))
}

/// Returns true if the last look at the rules found some missing and was broken off.
pub(super) fn is_unsettled(feed: &Feed) -> bool {
    Known::read(feed.cursor(RULES).as_deref()).gone
}

/// Makes the app's rules equal to the topics. Returns true if any rule wasn't in force. Rules that
/// somebody deleted leave a gap in the ledger, from the last time when all were there until the new
/// ones are in force.
///
/// A rule that X refuses is left out, and requested again by a later look.
///
/// # Errors
/// Fatal if the app has no room for the rules.
pub(super) async fn sync(api: &Api, feed: &Feed, x: &X) -> Result<Result<bool, String>> {
    let looked = feed.now();
    let there = match all(api, feed).await? {
        Ok(there) => there,
        Err(forbidden) => return Ok(Err(forbidden)),
    };
    let mut wanted = rules(x);
    wanted.retain(|rule| !feed.is_left_out(&part(rule)));
    let mut known = Known::read(feed.cursor(RULES).as_deref());
    let change = change(&wanted, &there, &known.made, x.other_rules);
    tell_foreign(api, feed, &change.foreign);
    // A rule that exists under another tag lets the same posts through.
    let lacking = change.add.iter().filter(|rule| there.iter().all(|one| one.value != rule.value));
    let lacking: BTreeSet<_> = lacking.map(|rule| name(&rule.value, &rule.tag)).collect();
    // A new topic was never promised.
    known.gone |= lacking.iter().any(|name| known.promised.contains_key(name));
    known.gone |= was_gone(&known.promised, &there);
    if !change.add.is_empty() {
        known.made.extend(change.add.iter().map(|rule| name(&rule.value, &rule.tag)));
        // This is saved before the request to X: once the rules are there again, nothing else would
        // tell that they were missing, or who made them.
        feed.set_cursor(RULES, known.save());
        feed.save().await?;
    }
    let Added { made: added, refused } = match apply(api, feed, &change).await? {
        Ok(added) => added,
        Err(forbidden) => return Ok(Err(forbidden)),
    };
    let is_refused = |rule: &Rule| refused.contains(&name(&rule.value, &rule.tag));
    let is_fresh = lacking.iter().any(|name| !refused.contains(name));
    let complete = if is_fresh { feed.now() } else { looked };
    if known.gone {
        let from = known.complete.unwrap_or(looked);
        feed.gap("", from, complete + TAKE, "rules of topics were missing").await?;
    }
    known.gone = false;
    known.complete = Some(complete);
    // Of two equal rules the first stays.
    let ids: BTreeMap<_, _> =
        there.iter().chain(&added).rev().map(|one| (one.name(), one.number())).collect();
    let in_force: Vec<_> = wanted.iter().filter(|rule| !is_refused(rule)).collect();
    for rule in &in_force {
        if let Some(since) = feed.take_back(&part(rule)) {
            feed.gap(&rule.topic, since, complete + TAKE, "X refused the rule of this topic")
                .await?;
        }
    }
    let names = in_force.iter().map(|rule| name(&rule.value, &rule.tag));
    known.promised = names.map(|name| (name, ids.get(&name).copied().flatten())).collect();
    // Rules that were deleted now belong to nobody.
    known.made.retain(|name| known.promised.contains_key(name));
    feed.set_cursor(RULES, known.save());
    Ok(Ok(is_fresh))
}

/// Returns the part of the source for a rule.
fn part(rule: &Rule) -> String {
    format!("rule {}", rule.topic)
}

/// The outcome of the rules that were to be added.
#[derive(Default)]
struct Added {
    /// The rules that X reports as made.
    made: Vec<There>,
    /// The names of the rules that X refuses.
    refused: BTreeSet<u64>,
}

/// Reports the rules that stay though no topic of this source asks for them, if their number has
/// changed.
fn tell_foreign(api: &Api, feed: &Feed, tags: &[&str]) {
    let before = api.foreign_rules.replace(tags.len());
    let Some(first) = tags.first().filter(|_| before != tags.len()) else { return };
    feed.say(format!(
        "rules by waterspout that this source didn't make stay: {}, such as \"{first}\"; posts that they match are delivered and \
         billed too; if no other topology uses this app, `other_rules: Remove` deletes them",
        tags.len()
    ));
}

/// Changes the rules.
async fn apply(api: &Api, feed: &Feed, change: &Change<'_>) -> Result<Result<Added, String>> {
    // Deletions come first, to make room for additions.
    for ids in change.delete.chunks(AT_ONCE) {
        let change = json!({ "delete": { "ids": ids } }).to_string();
        match api.change_rules(feed, &change).await? {
            Answer::Good(_) => {}
            Answer::Forbidden(why) => return Ok(Err(why)),
            Answer::Wrong(why) => {
                return Err(Error::fatal(format!("X refuses to delete rules: {why}")));
            }
        }
    }
    let mut outcome = Added::default();
    let mut left: Vec<&[&Rule]> = change.add.chunks(AT_ONCE).rev().collect();
    while let Some(some) = left.pop() {
        match (api.change_rules(feed, &added(some)).await?, some) {
            (Answer::Good(reply), _) => {
                for (value, why) in refusals(&reply.body) {
                    for rule in some.iter().filter(|rule| rule.value == value) {
                        leave_out(feed, rule, &why, &mut outcome);
                    }
                }
                let data = get(&reply.body, "data").unwrap_or_default();
                outcome.made.extend(elements(data).filter_map(There::read));
            }
            (Answer::Forbidden(why), _) => return Ok(Err(why)),
            (Answer::Wrong(why), [rule]) => leave_out(feed, rule, &why, &mut outcome),
            // One refused rule fails the call for all: the halves are tried to find it.
            (Answer::Wrong(_), some) => {
                let (first, second) = some.split_at(some.len() / 2);
                left.extend([second, first].into_iter().filter(|half| !half.is_empty()));
            }
        }
    }
    Ok(Ok(outcome))
}

fn leave_out(feed: &Feed, rule: &Rule, why: &str, outcome: &mut Added) {
    feed.leave_out(&part(rule), &format!("X refuses \"{}\": {why}", rule.value));
    outcome.refused.insert(name(&rule.value, &rule.tag));
}

fn added(rules: &[&Rule]) -> String {
    let rules: Vec<_> =
        rules.iter().map(|rule| json!({ "value": rule.value, "tag": rule.tag })).collect();
    json!({ "add": rules }).to_string()
}

async fn all(api: &Api, feed: &Feed) -> Result<Result<Vec<There>, String>> {
    let mut there: Vec<There> = Vec::new();
    let mut next: Option<String> = None;
    let mut cut = Reconnect::new();
    loop {
        let reply = match api.rules(feed, next.as_deref()).await? {
            Answer::Good(reply) => reply,
            Answer::Forbidden(why) => return Ok(Err(why)),
            Answer::Wrong(why) => {
                return Err(Error::fatal(format!("X refuses to list the rules: {why}")));
            }
        };
        let [data, meta] = pick(&reply.body, ["data", "meta"]);
        if !meta.is_some_and(|meta| meta.trim_ascii_start().starts_with(b"{")) {
            // The list was cut on its way: rules that it lacks aren't missing.
            let asking = Asking { feed, part: LIST, of: "" };
            asking.failed("a list of the rules was cut", cut.after(Trouble::Http)).await;
            continue;
        }
        feed.works(LIST);
        let before = there.len();
        there.extend(elements(data.unwrap_or_default()).filter_map(There::read));
        let token = get(meta.unwrap_or_default(), "next_token")
            .and_then(string)
            .map(|token| token.into_owned());
        // A page that leads back to itself would never end.
        if token.is_none() || token == next || there.len() == before {
            return Ok(Ok(there));
        }
        next = token;
    }
}

/// Returns the values of the rules that X refused to add, each with the reason. A rule that exists
/// already isn't an error.
fn refusals(body: &[u8]) -> Vec<(String, String)> {
    let mut refusals = Vec::new();
    let errors = get(body, "errors").unwrap_or_default();
    for error in elements(errors).filter(|error| !is_duplicate(error)) {
        let error = serde_json::from_slice::<Value>(error).unwrap_or_default();
        let text =
            |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let why = error.get("details").and_then(|details| details.get(0)).and_then(Value::as_str);
        let why = why.map_or_else(|| text("detail"), str::to_owned);
        refusals.push((text("value"), format!("{} {why}", text("title")).trim().to_owned()));
    }
    refusals
}

/// Fails with the first rule that X refused.
///
/// # Errors
/// Fatal if X refused a rule.
fn refused(body: &[u8]) -> Result<()> {
    match refusals(body).into_iter().next() {
        None => Ok(()),
        Some((value, why)) => Err(Error::fatal(format!("X refuses the rule \"{value}\": {why}"))),
    }
}

/// Returns true if an answer names the rule that is wrong.
fn names_a_rule(body: &[u8]) -> bool {
    elements(get(body, "errors").unwrap_or_default()).any(|error| get(error, "value").is_some())
}

fn is_duplicate(error: &[u8]) -> bool {
    let [kind, title] = pick(error, ["type", "title"]);
    let has = |value: Option<&[u8]>, part: &str| {
        value.and_then(string).is_some_and(|text| text.contains(part))
    };
    has(kind, "duplicate-rules") || has(title, "DuplicateRule")
}

/// Asks X about token and topics: one call in each mode, and neither reads a post.
///
/// # Errors
/// If X refuses the token or a topic, or doesn't answer; the error says what to do.
pub(super) async fn check_online(api: &Api, x: &X) -> Result<String> {
    let wanted = rules(x);
    let count = wanted.len();
    let reply = match x.mode {
        Mode::Stream => api.try_rules(added(&wanted.iter().collect::<Vec<_>>())).await,
        // The query has a condition that no post fulfils, so that nothing is billed.
        Mode::Search => {
            let query = wanted.first().map(|rule| rule.value.clone()).unwrap_or_default();
            let nothing = format!("from:x -from:x {query}");
            let fits = nothing.chars().count() <= x.plan.query_chars_max();
            api.try_search(if fits { &nothing } else { &query }).await
        }
    };
    let reply =
        reply.map_err(|failure| Error::transient(format!("X doesn't answer: {failure}")))?;
    match judge(&reply) {
        Verdict::Good => refused(&reply.body)?,
        Verdict::Wrong(_) if names_a_rule(&reply.body) => refused(&reply.body)?,
        Verdict::Wrong(why) => return Err(Error::fatal(format!("X refuses the topics: {why}"))),
        Verdict::Forbidden(why) if x.mode == Mode::Stream => {
            return Ok(format!(
                "the bearer token is good; this account has no stream ({why}), so recent search is used"
            ));
        }
        Verdict::Forbidden(why) => {
            return Err(Error::fatal(format!("this account may not search: {why}")));
        }
        Verdict::Limited(_) => {
            return Err(Error::transient("X allows no more requests now: try again in 15 minutes"));
        }
        Verdict::Stop(why) => return Err(Error::fatal(why)),
        other => return Err(Error::transient(format!("X doesn't answer as expected: {other:?}"))),
    }
    Ok(match x.mode {
        Mode::Stream => format!("X accepts the bearer token and the rules of all {count} topics"),
        Mode::Search => "X accepts the bearer token and the query of the first topic".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(topics: &[&str]) -> Vec<Rule> {
        topics
            .iter()
            .map(|topic| super::super::translate::rule(&topic.parse().unwrap(), None).unwrap())
            .collect()
    }

    fn there(id: &str, value: &str, tag: &str) -> There {
        There { id: id.into(), value: value.into(), tag: tag.into() }
    }

    #[track_caller]
    fn check(
        topics: &[&str],
        there: &[There],
        others: OtherRules,
        delete: &[&str],
        add: &[&str],
        foreign: &[&str],
    ) {
        let wanted = wanted(topics);
        // All rules but one, which another topology made.
        let made = there.iter().filter(|rule| rule.id != "7" && is_ours(&rule.tag));
        let made = made.map(|rule| name(&rule.value, &rule.tag)).collect();
        let change = change(&wanted, there, &made, others);
        assert_eq!(change.delete, delete);
        assert_eq!(change.add.iter().map(|rule| rule.topic.as_str()).collect::<Vec<_>>(), add);
        assert_eq!(change.foreign, foreign);
    }

    #[test]
    fn only_what_differs_is_changed_and_only_rules_that_this_source_made_are_deleted() {
        let all = [
            there("1", "storm", "waterspout:storm"),
            there("2", "storm", "waterspout:storm"),
            there("3", "old", "waterspout:old"),
            there("4", "storm", "somebody's"),
            there("5", "other", ""),
            there("6", "rust lang:en", "waterspout:rust"),
            there("7", "cats", "waterspout:cats"),
        ];
        let foreign = ["waterspout:cats"];
        check(
            &["storm", "rust", "#new"],
            &all,
            OtherRules::Keep,
            &["2", "3", "6"],
            &["rust", "#new"],
            &foreign,
        );
        check(&["storm"], &all, OtherRules::Remove, &["2", "3", "4", "5", "6", "7"], &[], &[]);
        check(&["cats"], &all[6..], OtherRules::Keep, &[], &[], &[]);
        check(&["storm"], &[], OtherRules::Keep, &[], &["storm"], &[]);
    }

    #[test]
    fn a_rule_that_is_there_already_is_good_and_one_that_is_invalid_is_not() {
        let duplicate = br#"{"errors":[{"title":"DuplicateRule","value":"a","type":"https://api.x.com/2/problems/duplicate-rules"}]}"#;
        assert!(refused(duplicate).is_ok());
        let invalid = br#"{"errors":[{"title":"UnprocessableEntity","value":"a (","details":["no viable alternative"],"type":"https://api.x.com/2/problems/invalid-rules"}]}"#;
        let error = refused(invalid).unwrap_err().chain();
        assert_eq!(error, "X refuses the rule \"a (\": UnprocessableEntity no viable alternative");
    }
}
