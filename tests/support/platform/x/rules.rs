//! The rules of the filtered stream.

use serde_json::{Value, json};

use super::super::errors::{x_invalid, x_problem};
use super::super::http::{Request, Response};
use super::super::query::Query;
use super::super::shared::Inner;
use super::super::world::{iso, now_us};

/// A rule.
pub(crate) struct Rule {
    pub id: String,
    pub value: String,
    pub tag: Option<String>,
    pub query: Query,
}

/// All rules of the app.
#[derive(Default)]
pub(crate) struct Rules {
    pub list: Vec<Rule>,
    given: u64,
}

impl Rules {
    fn new_id(&mut self) -> String {
        self.given += 1;
        (1_800_000_000_000_000_000 + self.given * 4096).to_string()
    }

    /// Adds a rule beforehand, as another program may have left it.
    pub(crate) fn add(&mut self, value: &str, tag: Option<&str>) -> String {
        let query = Query::x(value, false).expect("a rule of X");
        let id = self.new_id();
        self.list.push(Rule {
            id: id.clone(),
            value: value.into(),
            tag: tag.map(str::to_owned),
            query,
        });
        id
    }
}

impl Rule {
    fn json(&self) -> Value {
        let mut rule = json!({"id": self.id, "value": self.value});
        if let Some(tag) = &self.tag {
            rule["tag"] = tag.as_str().into();
        }
        rule
    }
}

/// The number of rules on one page, unless `max_results` is lower.
const PAGE: usize = 1000;

/// Returns a page of the rules.
pub(crate) fn rules(inner: &mut Inner, request: &Request) -> Response {
    let ids: Vec<_> = request.query("ids").map(|ids| ids.split(',').collect()).unwrap_or_default();
    let all: Vec<_> = inner
        .rules
        .list
        .iter()
        .filter(|rule| ids.is_empty() || ids.contains(&rule.id.as_str()))
        .collect();
    let from: usize = request
        .query("pagination_token")
        .and_then(|token| token.strip_prefix("page")?.parse().ok())
        .unwrap_or(0);
    let size = request.number("max_results").unwrap_or(PAGE).min(inner.settings.x_rules_page);
    let page: Vec<_> = all.iter().skip(from).take(size).map(|rule| rule.json()).collect();
    let mut body = json!({"meta": {"sent": iso(now_us()), "result_count": page.len()}});
    if from + page.len() < all.len() {
        body["meta"]["next_token"] = format!("page{}", from + page.len()).into();
    }
    // An empty list is left out.
    if !page.is_empty() {
        body["data"] = page.into();
    }
    Response::json(200, &body)
}

/// Adds or deletes rules.
pub(crate) fn change_rules(inner: &mut Inner, request: &Request) -> Response {
    let dry = request.query("dry_run") == Some("true");
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return x_invalid("the body is no JSON");
    };
    if request.query("delete_all") == Some("true") {
        let deleted = inner.rules.list.len();
        if !dry {
            inner.rules.list.clear();
        }
        return deleted_answer(deleted, 0);
    }
    match (body["add"].as_array(), body.get("delete")) {
        (Some(rules), None) if !rules.is_empty() => add(inner, rules, dry),
        (None, Some(which)) => delete(inner, which, dry),
        _ => x_invalid("one of \"add\" and \"delete\" is expected"),
    }
}

fn deleted_answer(deleted: usize, not_deleted: usize) -> Response {
    let summary = json!({"deleted": deleted, "not_deleted": not_deleted});
    Response::json(200, &json!({"meta": {"sent": iso(now_us()), "summary": summary}}))
}

fn delete(inner: &mut Inner, which: &Value, dry: bool) -> Response {
    let texts = |key: &str| -> Vec<String> {
        which[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let (ids, values) = (texts("ids"), texts("values"));
    if ids.is_empty() && values.is_empty() {
        return x_invalid("\"ids\" or \"values\" are expected");
    }
    let hit = |rule: &Rule| ids.contains(&rule.id) || values.contains(&rule.value);
    let deleted = inner.rules.list.iter().filter(|rule| hit(rule)).count();
    if !dry {
        inner.rules.list.retain(|rule| !hit(rule));
    }
    deleted_answer(deleted, (ids.len() + values.len()).saturating_sub(deleted))
}

fn add(inner: &mut Inner, rules: &[Value], dry: bool) -> Response {
    if inner.rules.list.len() + rules.len() > inner.settings.x_rules {
        return Response::problem(
            400,
            &x_problem("rule-cap", "RulesCapExceeded", "Rule cap exceeded", 400),
        );
    }
    let (mut created, mut errors, mut invalid) = (Vec::new(), Vec::new(), 0);
    for rule in rules {
        let value = rule["value"].as_str().unwrap_or_default().to_owned();
        let tag = rule["tag"].as_str().map(str::to_owned);
        let same = |list: &[Rule]| {
            list.iter().find(|r| r.value == value && r.tag == tag).map(|r| r.id.clone())
        };
        if let Some(id) = same(&inner.rules.list).or_else(|| same(&created)) {
            let mut problem = x_problem("duplicate-rules", "DuplicateRule", "", 400);
            problem["id"] = id.into();
            problem["value"] = value.into();
            errors.push(problem);
            continue;
        }
        let long = value.chars().count() > inner.settings.x_rule_chars;
        let query = if long {
            Err(format!("The rule is longer than {} characters", inner.settings.x_rule_chars))
        } else {
            Query::x(&value, false)
        };
        match query {
            Ok(query) => created.push(Rule { id: inner.rules.new_id(), value, tag, query }),
            Err(message) => {
                invalid += 1;
                let mut problem = x_problem("invalid-rules", "UnprocessableEntity", &message, 422);
                problem["value"] = value.into();
                problem["details"] = json!([message]);
                errors.push(problem);
            }
        }
    }
    // One invalid rule prevents all of them.
    if invalid > 0 {
        created.clear();
    }
    let summary = json!({
        "created": created.len(), "not_created": rules.len() - created.len(),
        "valid": rules.len() - invalid, "invalid": invalid,
    });
    let mut body = json!({"meta": {"sent": iso(now_us()), "summary": summary}});
    if !created.is_empty() {
        body["data"] = created.iter().map(Rule::json).collect();
    }
    let status = if invalid > 0 {
        400
    } else if created.is_empty() {
        200
    } else {
        201
    };
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    if !dry {
        inner.rules.list.extend(created);
    }
    Response::json(status, &body)
}
