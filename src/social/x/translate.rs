//! The translation of topics into X's own language: one rule of the stream and one query of the
//! search for each.
//!
//! A rule may match more than its topic asks for (X knows fewer languages, for example); then its
//! posts are compared with the topic here. The rule's tag says if this is needed, since the tag
//! comes with every post that the rule matched.

use crate::component::Problem;
use crate::social::{RULES_BY_US, Term, Topic};

use super::{Mode, X};

/// The languages that X distinguishes.
const LANGS: &str = " am ar bg bn bo ca ckb cs cy da de dv el en es et eu fa fi fr gu hi hi-latn ht hu hy id in is it \
    iw ja ka km kn ko lo lt lv ml mr my ne nl no or pa pl ps pt ro ru sd si sk sl sr sv ta te th tl tr ug uk und ur vi \
    zh zh-cn zh-tw art qam qct qht qme qst zxx ";

/// Operators that only the stream has, and not the search.
const STREAM_ONLY: [&str; 2] = ["sample:", "bio:"];

/// A topic in X's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The text of the rule.
    pub value: String,
    /// `waterspout:<topic>` if a match by X is always a match of the topic, else
    /// `waterspout~<topic>`.
    pub tag: String,
    /// The topic.
    pub topic: String,
}

impl Rule {
    /// Returns true if every post that the rule matches fulfils the topic.
    pub(crate) fn is_exact(&self) -> bool {
        self.tag.starts_with(RULES_BY_US)
    }

    /// Returns true if the rule is short enough for a search.
    pub(crate) fn is_searchable(&self, x: &X) -> bool {
        self.value.chars().count() <= x.plan.query_chars_max()
    }
}

/// Returns true if a tag belongs to a rule of this program.
pub(super) fn is_ours(tag: &str) -> bool {
    tag.strip_prefix("waterspout").is_some_and(|rest| rest.starts_with([':', '~']))
}

/// Returns a condition in X's language, and true if it means the same there.
fn condition(term: &Term) -> Result<(String, bool), String> {
    let sign = |sign: char, name: &str, what: &str| match name
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_')
    {
        true => Ok((format!("{sign}{name}"), true)),
        false => Err(format!("X has no {what} \"{name}\"")),
    };
    match term {
        Term::Word(word) | Term::Phrase(word) => text(word),
        Term::Hashtag(tag) => sign('#', tag, "hashtag"),
        Term::Cashtag(symbol) => sign('$', symbol, "cashtag"),
        Term::Mention(user) => sign('@', user, "user"),
        Term::From(user) => sign('@', user, "user")
            .map(|(user, exact)| (format!("from:{}", user.trim_start_matches('@')), exact)),
        Term::Lang(lang) => language(lang),
        Term::Page(id) => Err(format!("X has no page \"{id}\"")),
        Term::Channel(id) => Err(format!("X has no channel \"{id}\"")),
        Term::Not(term) => match condition(term)? {
            (condition, true) => Ok((format!("-{condition}"), true)),
            // Without the condition X sends more than is wanted; with it, X would send less.
            (_, false) => Ok((String::new(), false)),
        },
    }
}

/// Returns a word or phrase for X. X finds words as they are; a text with more than letters and
/// digits needs quotes.
fn text(word: &str) -> Result<(String, bool), String> {
    if !word.contains(char::is_alphanumeric) {
        return Err(format!("X looks for words, and \"{word}\" has no letter or digit"));
    }
    let plain = word.chars().all(char::is_alphanumeric) && !matches!(word, "or" | "and" | "not");
    // A phrase can't have a quote or a backslash; X ends words there in any case.
    let quoted = word.replace(['"', '\\'], " ");
    Ok(if plain { (word.into(), true) } else { (format!("\"{quoted}\""), quoted == word) })
}

fn language(lang: &str) -> Result<(String, bool), String> {
    let known = |lang: &str| LANGS.contains(&format!(" {lang} "));
    let main = lang.split('-').next().unwrap_or(lang);
    match lang {
        // X has kept the old codes of two languages.
        "he" => Ok(("lang:iw".into(), false)),
        "id" => Ok(("lang:in".into(), false)),
        _ if known(lang) => Ok((format!("lang:{lang}"), true)),
        _ if known(main) => Ok((format!("lang:{main}"), false)),
        _ => Err(format!("X has no language \"{lang}\"")),
    }
}

/// Returns the rule of a topic.
///
/// # Errors
/// If X's language can't express the topic.
pub(super) fn rule(topic: &Topic, also: Option<&str>) -> Result<Rule, String> {
    let alone = |term: &Term| !matches!(term, Term::Lang(_) | Term::Not(_));
    if !topic.terms().iter().any(alone) {
        return Err("X needs something to look for beside a language".into());
    }
    let conditions = topic.terms().iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let exact = conditions.iter().all(|(_, exact)| *exact);
    let conditions = conditions.iter().map(|(condition, _)| condition.as_str());
    let value: Vec<_> =
        conditions.chain(also.map(str::trim)).filter(|part| !part.is_empty()).collect();
    let (name, sign) = (topic.name(), if exact { ':' } else { '~' });
    Ok(Rule { value: value.join(" "), tag: format!("waterspout{sign}{name}"), topic: name })
}

/// Returns the rules of all topics; topics without a rule are reported by [`problems`] before.
pub(super) fn rules(x: &X) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule in x.topics.iter().filter_map(|topic| rule(topic, x.also.as_deref()).ok()) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// Returns the problems of the topics and of `also`.
pub(super) fn problems(x: &X) -> Vec<Problem> {
    let at = |field, what: String| Problem { field, what, candidates: None };
    let mut problems = Vec::new();
    if x.topics.is_empty() {
        problems.push(at(
            "topics",
            "expected at least one topic, since X doesn't stream unfiltered posts".into(),
        ));
    }
    if x.topics.len() > x.plan.rules_max() {
        let (found, max) = (x.topics.len(), x.plan.rules_max());
        problems.push(at(
            "topics",
            format!(
                "expected at most {max} topics, which is this plan's number of rules, found {found}"
            ),
        ));
    }
    for topic in &x.topics {
        match rule(topic, x.also.as_deref()) {
            Err(what) => problems.push(at("topics", format!("topic \"{topic}\": {what}"))),
            Ok(rule) => problems.extend(too_long(&rule, x).map(|what| at("topics", what))),
        }
    }
    let also = x.also.as_deref().unwrap_or_default();
    for operator in STREAM_ONLY.into_iter().filter(|operator| also.contains(operator)) {
        let what = format!(
            "\"{operator}\" can't be used, since recent search, which fills gaps, doesn't know it"
        );
        problems.push(at("also", what));
    }
    problems
}

fn too_long(rule: &Rule, x: &X) -> Option<String> {
    let chars = rule.value.chars().count();
    let (what, max) = match x.mode {
        Mode::Stream => ("rule", x.plan.rule_chars_max()),
        Mode::Search => ("query", x.plan.query_chars_max()),
    };
    (chars > max).then(|| {
        format!(
            "topic \"{}\": expected a {what} of at most {max} characters, found {chars}: split it",
            rule.topic
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(topic: &str, value: Result<&str, &str>, exact: bool) {
        match (rule(&topic.parse().unwrap(), None), value) {
            (Ok(rule), Ok(value)) => {
                assert_eq!(rule.value, value, "{topic}");
                assert_eq!(rule.is_exact(), exact, "{topic}");
                assert!(is_ours(&rule.tag), "{topic}");
            }
            (Err(what), Err(part)) => assert!(what.contains(part), "{topic}: {what}"),
            (found, _) => panic!("{topic}: {found:?}"),
        }
    }

    #[test]
    fn topics_are_translated_term_by_term() {
        check("rust lang", Ok("rust lang"), true);
        check("\"Rust  lang\" -java", Ok("\"rust lang\" -java"), true);
        check("#Storm", Ok("#storm"), true);
        check("from:@NWS lang:en", Ok("from:NWS lang:en"), true);
        check("$tsla @nws", Ok("$tsla @nws"), true);
        check("café 嵐", Ok("café 嵐"), true);
        check("c++ or", Ok("\"c++\" \"or\""), true);
        check("storm -\"red flag\" -#drill", Ok("storm -\"red flag\" -#drill"), true);
        check("sample:10", Ok("\"sample:10\""), true);
    }

    #[test]
    fn what_x_tells_less_finely_is_asked_for_more_widely() {
        check("storm lang:en-gb", Ok("storm lang:en"), false);
        check("storm lang:he", Ok("storm lang:iw"), false);
        check("storm -lang:en-gb", Ok("storm"), false);
        check("a\"b", Ok("\"a b\""), false);
    }

    #[test]
    fn what_x_has_no_words_for_is_refused() {
        check("lang:en", Err("beside a language"), false);
        check("from:a@b.example", Err("no user"), false);
        check("storm lang:tlh", Err("no language"), false);
        check("#c++", Err("no hashtag"), false);
        check("!!", Err("no letter"), false);
    }

    #[test]
    fn what_else_is_asked_for_stands_behind_each_rule() {
        let rule = rule(&"storm".parse().unwrap(), Some(" -is:retweet ")).unwrap();
        assert_eq!(
            (rule.value.as_str(), rule.tag.as_str()),
            ("storm -is:retweet", "waterspout:storm")
        );
        assert!(!is_ours("storm") && !is_ours("waterspouts are fun"));
    }
}
