//! A Bluesky post: the commit that Jetstream sends for it.

use super::super::draw::Draw;
use super::super::json::{BASE32, BASE32_SORTED, Json, Moment};
use super::super::posts::Draft;
use super::super::text::{Piece, Span};
use super::super::trend::Tag;
use super::super::user::User;
use super::link;

/// Writes a time-ordered id: microseconds, and ten bits that distinguish ids of the same
/// microsecond.
fn write_tid(json: &mut Json<'_>, at: Moment, number: u64) {
    json.digits((at.0 << 10) | (number & 1023), 13, BASE32_SORTED);
}

fn write_did(json: &mut Json<'_>, user: User) {
    json.raw("did:plc:").digits(user.id(), 12, BASE32).digits(user.mix, 12, BASE32);
}

fn write_cid(json: &mut Json<'_>, draw: &mut Draw) {
    json.raw("bafyrei").random(draw, 52, BASE32);
}

pub(super) fn write(json: &mut Json<'_>, draft: &mut Draft) {
    draft.plain();
    let Draft { number, at, draw, author, text, spans, scratch, .. } = draft;
    json.raw(r#"{"did":""#);
    write_did(json, *author);
    json.raw(r#"","time_us":"#).int(at.0).raw(r#","kind":"commit","commit":{"rev":""#);
    write_tid(json, *at, *number);
    json.raw(r#"","operation":"create","collection":"app.bsky.feed.post","rkey":""#);
    write_tid(json, *at, *number);
    json.raw(r#"","record":{"$type":"app.bsky.feed.post","createdAt":""#).millis(*at);
    json.raw(r#"","langs":[""#).raw(author.language().code).raw(r#""]"#);
    write_facets(json, spans, scratch);
    if draw.one_in(3) {
        write_reply(json, draw, *at);
    }
    json.raw(r#","text":""#).text(text).raw(r#""},"cid":""#);
    write_cid(json, draw);
    json.raw(r#""}}"#);
}

fn write_facets(json: &mut Json<'_>, spans: &[Span], scratch: &mut String) {
    if spans.is_empty() {
        return;
    }
    json.raw(r#","facets":"#).list(spans, |json, span| {
        json.raw(r#"{"features":[{"$type":"app.bsky.richtext.facet#"#);
        match span.piece {
            Piece::Tag(rank) => _ = json.raw(r#"tag","tag":""#).raw(&Tag::at(rank).text),
            Piece::Mention(user) => {
                json.raw(r#"mention","did":""#);
                write_did(json, user);
            }
            Piece::Link(number) => {
                json.raw(r#"link","uri":""#);
                link(json, number, scratch);
            }
            Piece::Word(_) | Piece::Emoji(_) | Piece::Break => {
                unreachable!("only the others have a span")
            }
        }
        json.raw(r#""}],"index":{"byteStart":"#).int(span.bytes.start as u64).raw(r#","byteEnd":"#);
        json.int(span.bytes.end as u64).raw("}}");
    });
}

fn write_reply(json: &mut Json<'_>, draw: &mut Draw, at: Moment) {
    json.raw(r#","reply":{"#);
    for (i, role) in ["parent", "root"].into_iter().enumerate() {
        json.raw(if i > 0 { ",\"" } else { "\"" }).raw(role).raw(r#"":{"cid":""#);
        write_cid(json, draw);
        json.raw(r#"","uri":"at://"#);
        let place = draw.bits();
        write_did(json, User::draw(draw, place));
        json.raw("/app.bsky.feed.post/");
        write_tid(json, at.before(draw.count(16)), draw.long());
        json.raw(r#""}"#);
    }
    json.raw("}");
}
