//! A post of a Facebook page, as the Graph API returns it with the fields that a capture requests.

use super::super::draw::Draw;
use super::super::json::{BASE64, Json};
use super::super::posts::Draft;
use super::super::text::{Piece, Span};
use super::super::trend::Tag;

const REACTIONS: [&str; 6] = ["like", "love", "wow", "haha", "sad", "angry"];

pub(super) fn write(json: &mut Json<'_>, draft: &mut Draft) {
    draft.plain();
    let Draft { number, at, draw, author, text, spans, .. } = draft;
    let page = author.id() >> 12;
    // Beyond 2^53, like real ids.
    let post = number.wrapping_add(10_150_000_000_000_000);
    json.raw(r#"{"id":""#).int(page).raw("_").int(post).raw(r#"","from":{"id":""#).int(page);
    json.raw(r#"","name":""#);
    author.words(json, 2);
    json.raw(r#""},"created_time":""#)
        .second(*at)
        .raw(r#"+0000","updated_time":""#)
        .second(at.after(60));
    json.raw(r#"+0000","message":""#).text(text).raw(r#"","message_tags":"#);
    write_tags(json, spans);
    write_attachment(json, draw, page, post);
    json.raw(r#","status_type":"added_photos","permalink_url":"https://social.example/"#)
        .int(page)
        .raw("/posts/");
    json.int(post).raw(r#"","full_picture":""#);
    write_picture(json, draw);
    json.raw(r#"","shares":{"count":"#).int(draw.count(10) + 1).raw("}");
    write_reactions(json, draw);
    json.raw("}");
}

fn write_tags(json: &mut Json<'_>, spans: &[Span]) {
    let tags = spans.iter().filter_map(|span| match span.piece {
        Piece::Tag(rank) => Some((span, rank)),
        _ => None,
    });
    json.list(tags, |json, (span, rank)| {
        json.raw(r#"{"id":""#).int(430_000_000_000_000 + u64::from(rank)).raw(r##"","name":"#"##);
        json.raw(&Tag::at(rank).text).raw(r#"","type":"hashtag","offset":"#).int(span.chars.start);
        json.raw(r#","length":"#).int(span.chars.end - span.chars.start).raw("}");
    });
}

fn write_attachment(json: &mut Json<'_>, draw: &mut Draw, page: u64, post: u64) {
    let address = |json: &mut Json<'_>| {
        json.raw("https://social.example/")
            .int(page)
            .raw("/photos/a.")
            .int(page + 7)
            .raw("/")
            .int(post)
            .raw("/?type=3");
    };
    json.raw(r#","attachments":{"data":[{"media":{"image":{"height":720,"width":720,"src":""#);
    write_picture(json, draw);
    json.raw(r#""}},"media_type":"photo","target":{"id":""#).int(post).raw(r#"","url":""#);
    address(json);
    json.raw(r#""},"type":"photo","unshimmed_url":""#);
    address(json);
    json.raw(r#"","url":""#);
    address(json);
    json.raw(r#""}]}"#);
}

/// Writes the address of a picture, with a signature as long as in real ones.
fn write_picture(json: &mut Json<'_>, draw: &mut Draw) {
    json.raw("https://img.example/v/t1.6435-9/p720x720/")
        .int(draw.long() >> 20)
        .raw("_")
        .int(draw.long() >> 14);
    json.raw("_n.jpg?_nc_cat=1&ccb=1-3&_nc_sid=")
        .random(draw, 6, BASE64)
        .raw("&_nc_ohc=")
        .random(draw, 21, BASE64);
    json.raw("&_nc_ht=img.example&tp=6&oh=")
        .random(draw, 43, BASE64)
        .raw("&oe=")
        .random(draw, 8, BASE64);
}

fn write_reactions(json: &mut Json<'_>, draw: &mut Draw) {
    let total = draw.count(13);
    json.raw(r#","comments":{"data":[],"summary":{"order":"chronological","total_count":"#)
        .int(draw.count(8));
    json.raw(r#","can_comment":false}},"reactions":{"data":[],"summary":{"total_count":"#)
        .int(total);
    json.raw(r#","viewer_reaction":"NONE"}}"#);
    for (i, reaction) in REACTIONS.iter().enumerate() {
        json.raw(",\"")
            .raw(reaction)
            .raw(r#"":{"data":[],"summary":{"total_count":"#)
            .int(total >> (i + 1))
            .raw("}}");
    }
}
