//! The languages of X's rules and searches, and of YouTube's: parsed and matched by their meaning,
//! so that a topic that was translated wrongly finds the wrong posts here too.

use super::text::has_words;

/// The facts of a post that a query can ask for.
pub(crate) struct Subject<'a> {
    pub text: &'a str,
    pub tags: &'a [String],
    pub author: &'a str,
    pub lang: &'a str,
    /// Such as `quote` or `reply`, for `is:`, and `media` for `has:`.
    pub traits: &'a [&'a str],
}

/// A parsed query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    Not(Box<Query>),
    /// A word, or a phrase in quotes.
    Words(String),
    Tag(String),
    From(String),
    Lang(String),
    Is(String),
}

/// X's operators that may stand alone, and those that need another operator beside them.
const ALONE: [&str; 9] = [
    "from",
    "to",
    "url",
    "context",
    "entity",
    "conversation_id",
    "place",
    "url_contains",
    "retweets_of",
];
const BESIDE: [&str; 5] = ["lang", "is", "has", "point_radius", "sample"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Or,
    Not,
    Term(String, bool),
}

impl Query {
    /// Parses a query of X. A `search` has fewer operators than a rule.
    pub(crate) fn x(text: &str, search: bool) -> Result<Self, String> {
        let query =
            Parser { tokens: tokens(text, false)?, at: 0, youtube: false, search }.whole()?;
        match query.stands_alone() {
            true => Ok(query),
            false => Err("Rules must contain at least one positive, stand-alone operator".into()),
        }
    }

    /// Parses a query of YouTube: `|` means or, `-` means not.
    pub(crate) fn youtube(text: &str) -> Result<Self, String> {
        Parser { tokens: tokens(text, true)?, at: 0, youtube: true, search: true }.whole()
    }

    fn stands_alone(&self) -> bool {
        match self {
            Self::All(all) => all.iter().any(Self::stands_alone),
            Self::Any(any) => any.iter().all(Self::stands_alone),
            Self::Words(_) | Self::Tag(_) | Self::From(_) => true,
            Self::Not(_) | Self::Lang(_) | Self::Is(_) => false,
        }
    }

    pub(crate) fn matches(&self, subject: &Subject) -> bool {
        match self {
            Self::All(all) => all.iter().all(|query| query.matches(subject)),
            Self::Any(any) => any.iter().any(|query| query.matches(subject)),
            Self::Not(query) => !query.matches(subject),
            Self::Words(words) => has_words(subject.text, words),
            Self::Tag(tag) => subject.tags.iter().any(|t| t.to_lowercase() == tag.to_lowercase()),
            Self::From(name) => subject.author.eq_ignore_ascii_case(name),
            Self::Lang(lang) => subject.lang.eq_ignore_ascii_case(lang),
            Self::Is(what) => subject.traits.contains(&what.as_str()),
        }
    }
}

fn tokens(text: &str, youtube: bool) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let begins = tokens.last().is_none_or(|last| *last != Token::Not);
        let used = match first {
            '(' if !youtube => {
                tokens.push(Token::Open);
                1
            }
            ')' if !youtube => {
                tokens.push(Token::Close);
                1
            }
            '|' if youtube => {
                tokens.push(Token::Or);
                1
            }
            '-' if begins => {
                tokens.push(Token::Not);
                1
            }
            '"' => {
                let end = rest[1..].find('"').ok_or("missing closing quotation mark")? + 1;
                tokens.push(Token::Term(rest[1..end].to_owned(), true));
                end + 1
            }
            _ => {
                let ends = |c: char| {
                    c.is_whitespace()
                        || (!youtube && matches!(c, '(' | ')'))
                        || (youtube && c == '|')
                };
                let end = rest.find(ends).unwrap_or(rest.len());
                let word = &rest[..end];
                tokens.push(if word == "OR" && !youtube {
                    Token::Or
                } else {
                    Token::Term(word.to_owned(), false)
                });
                end
            }
        };
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    youtube: bool,
    search: bool,
}

impl Parser {
    fn whole(mut self) -> Result<Query, String> {
        let query = self.any()?;
        match self.tokens.get(self.at) {
            None => Ok(query),
            Some(token) => Err(format!("no viable alternative at input {token:?}")),
        }
    }

    fn any(&mut self) -> Result<Query, String> {
        let mut any = vec![self.all()?];
        while self.tokens.get(self.at) == Some(&Token::Or) {
            self.at += 1;
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Query::Any(any) })
    }

    fn all(&mut self) -> Result<Query, String> {
        let mut all = Vec::new();
        loop {
            match self.tokens.get(self.at).cloned() {
                Some(Token::Not) => {
                    self.at += 1;
                    match self.tokens.get(self.at).cloned() {
                        Some(Token::Term(term, quoted)) => {
                            self.at += 1;
                            all.push(Query::Not(Box::new(self.term(&term, quoted)?)));
                        }
                        _ => return Err("Negating groups is not allowed".into()),
                    }
                }
                Some(Token::Open) => {
                    self.at += 1;
                    all.push(self.any()?);
                    if self.tokens.get(self.at) != Some(&Token::Close) {
                        return Err("missing closing parenthesis".into());
                    }
                    self.at += 1;
                }
                Some(Token::Term(term, quoted)) => {
                    self.at += 1;
                    all.push(self.term(&term, quoted)?);
                }
                Some(Token::Or | Token::Close) | None => break,
            }
        }
        match all.len() {
            0 => Err("a term is missing".into()),
            1 => Ok(all.remove(0)),
            _ => Ok(Query::All(all)),
        }
    }

    fn term(&self, term: &str, quoted: bool) -> Result<Query, String> {
        if quoted {
            return Ok(Query::Words(term.to_owned()));
        }
        if let Some(tag) = term.strip_prefix('#') {
            return Ok(Query::Tag(tag.to_owned()));
        }
        match term.split_once(':').filter(|_| !self.youtube) {
            None => Ok(Query::Words(term.to_owned())),
            Some(("from", name)) => Ok(Query::From(name.trim_start_matches('@').to_owned())),
            Some(("lang", lang)) => Ok(Query::Lang(lang.to_owned())),
            Some(("is" | "has", what)) => Ok(Query::Is(what.to_owned())),
            Some((name, _)) if self.search && name == "sample" => {
                Err(format!("unknown operator \"{name}\""))
            }
            Some((name, _)) if ALONE.contains(&name) || BESIDE.contains(&name) => {
                Err(format!("the fake platform doesn't know \"{name}:\""))
            }
            Some((name, _)) => Err(format!("unknown operator \"{name}\"")),
        }
    }
}
