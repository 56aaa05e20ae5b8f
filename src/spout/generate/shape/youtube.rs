//! A video, as YouTube's `videos.list` returns it with `snippet`, `statistics` and
//! `contentDetails`.

use super::super::draw::{Draw, mix};
use super::super::json::{BASE64, Json};
use super::super::posts::Draft;
use super::super::text::Piece;
use super::super::trend::Tag;

const THUMBNAILS: [(&str, &str, u64, u64); 5] = [
    ("default", "default", 120, 90),
    ("medium", "mqdefault", 320, 180),
    ("high", "hqdefault", 480, 360),
    ("standard", "sddefault", 640, 480),
    ("maxres", "maxresdefault", 1_280, 720),
];

pub(super) fn write(json: &mut Json<'_>, draft: &mut Draft) {
    draft.plain();
    let Draft { number, at, draw, author, text, tags, pieces, scratch, .. } = draft;
    // A permutation of the number, which is unique and has no visible pattern.
    let id = mix(*number);
    title(&pieces.pieces, scratch);
    json.raw(r#"{"kind":"youtube#video","etag":""#)
        .random(draw, 27, BASE64)
        .raw(r#"","id":""#)
        .digits(id, 11, BASE64);
    json.raw(r#"","snippet":{"publishedAt":""#).second(*at).raw(r#"Z","channelId":"UC"#).digits(
        author.id(),
        11,
        BASE64,
    );
    json.digits(author.mix, 11, BASE64)
        .raw(r#"","title":""#)
        .text(scratch)
        .raw(r#"","description":""#)
        .text(text);
    json.raw(r#"","thumbnails":{"#);
    for (i, (name, file, width, height)) in THUMBNAILS.into_iter().enumerate() {
        json.raw(if i > 0 { ",\"" } else { "\"" })
            .raw(name)
            .raw(r#"":{"url":"https://img.example/vi/"#);
        json.digits(id, 11, BASE64)
            .raw("/")
            .raw(file)
            .raw(r#".jpg","width":"#)
            .int(width)
            .raw(r#","height":"#);
        json.int(height).raw("}");
    }
    json.raw(r#"},"channelTitle":""#);
    author.words(json, 2);
    json.raw(r#"","tags":"#)
        .list(tags.iter(), |json, rank| _ = json.raw("\"").raw(&Tag::at(*rank).text).raw("\""));
    let language = author.language().code;
    json.raw(r#","categoryId":""#)
        .int(draw.below(29) + 1)
        .raw(r#"","liveBroadcastContent":"none","defaultLanguage":""#);
    json.raw(language)
        .raw(r#"","localized":{"title":""#)
        .text(scratch)
        .raw(r#"","description":""#)
        .text(text);
    json.raw(r#""},"defaultAudioLanguage":""#).raw(language).raw(r#""},"#);
    write_details(json, draw);
    json.raw("}");
}

/// Writes the first words of the text, and its first hashtag.
fn title(pieces: &[Piece], into: &mut String) {
    into.clear();
    for piece in pieces.iter().take(6) {
        if let Piece::Word(word) | Piece::Emoji(word) = piece {
            into.extend([word, " "]);
        }
    }
    match pieces
        .iter()
        .find_map(|piece| if let Piece::Tag(rank) = piece { Some(*rank) } else { None })
    {
        Some(rank) => into.extend(["#", &Tag::at(rank).text]),
        None => into.truncate(into.trim_end().len()),
    }
}

fn write_details(json: &mut Json<'_>, draw: &mut Draw) {
    json.raw(r#""contentDetails":{"duration":"PT"#)
        .int(draw.below(30))
        .raw("M")
        .int(draw.below(60));
    json.raw(r#"S","dimension":"2d","definition":"hd","caption":"false","licensedContent":"#)
        .bool(draw.one_in(2));
    let views = draw.count(20);
    json.raw(r#","projection":"rectangular"},"statistics":{"viewCount":""#)
        .int(views)
        .raw(r#"","likeCount":""#);
    json.int(views / 30)
        .raw(r#"","favoriteCount":"0","commentCount":""#)
        .int(views / 400)
        .raw(r#""}"#);
}
