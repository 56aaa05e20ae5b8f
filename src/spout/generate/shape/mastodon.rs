//! A Mastodon status, as the streaming API sends it.

use super::super::draw::Draw;
use super::super::json::{HEX, Json};
use super::super::posts::Draft;
use super::super::text::Piece;
use super::super::trend::Tag;
use super::super::user::User;
use super::username;

pub(super) fn write(json: &mut Json<'_>, draft: &mut Draft) {
    let Draft { number, at, draw, author, pieces, text, scratch, .. } = draft;
    pieces.html(text);
    // Milliseconds, and a sequence number of 16 bits.
    let id = (at.millis() << 16) | (*number & 0xffff);
    json.raw(r#"{"id":""#).int(id).raw(r#"","created_at":""#).millis(*at);
    json.raw(r#"","in_reply_to_id":null,"in_reply_to_account_id":null,"sensitive":"#)
        .bool(draw.one_in(20));
    json.raw(r#","spoiler_text":"","visibility":"public","language":""#)
        .raw(author.language().code);
    json.raw(r#"","uri":"https://social.example/users/"#);
    username(json, *author, scratch);
    json.raw("/statuses/")
        .int(id)
        .raw(r#"","url":"https://social.example/@"#)
        .raw(scratch)
        .raw("/")
        .int(id);
    write_counts(json, draw);
    json.raw(r#","edited_at":null,"content":""#).text(text);
    json.raw(r#"","reblog":null,"application":{"name":"Web","website":null},"account":"#);
    write_account(json, *author, scratch);
    json.raw(r#","media_attachments":[],"mentions":"#);
    write_mentions(json, &pieces.pieces, scratch);
    json.raw(r#","tags":"#).list(pieces.pieces.iter().filter_map(tag), |json, tag| {
        json.raw(r#"{"name":""#)
            .raw(&tag.text)
            .raw(r#"","url":"https://social.example/tags/"#)
            .raw(&tag.in_url);
        json.raw(r#""}"#);
    });
    json.raw(r#","emojis":[],"card":null,"poll":null,"quote":null,"quote_approval":{"automatic":["public"],"#);
    json.raw(r#""manual":[],"current_user":"automatic"}}"#);
}

fn tag(piece: &Piece) -> Option<&'static Tag> {
    if let Piece::Tag(rank) = piece { Some(Tag::at(*rank)) } else { None }
}

fn write_counts(json: &mut Json<'_>, draw: &mut Draw) {
    let favourites = draw.count(9);
    json.raw(r#"","replies_count":"#)
        .int(favourites / 6)
        .raw(r#","reblogs_count":"#)
        .int(favourites / 2);
    json.raw(r#","favourites_count":"#)
        .int(favourites)
        .raw(r#","quotes_count":"#)
        .int(favourites / 30);
}

fn write_mentions(json: &mut Json<'_>, pieces: &[Piece], scratch: &mut String) {
    let mentioned = pieces
        .iter()
        .filter_map(|piece| if let Piece::Mention(user) = piece { Some(*user) } else { None });
    json.list(mentioned, |json, user| {
        json.raw(r#"{"id":""#).int(user.id()).raw(r#"","username":""#);
        username(json, user, scratch);
        json.raw(r#"","url":"https://social.example/@"#)
            .raw(scratch)
            .raw(r#"","acct":""#)
            .raw(scratch)
            .raw(r#""}"#);
    });
}

fn write_account(json: &mut Json<'_>, author: User, scratch: &mut String) {
    json.raw(r#"{"id":""#).int(author.id()).raw(r#"","username":""#);
    username(json, author, scratch);
    json.raw(r#"","acct":""#).raw(scratch).raw(r#"","display_name":""#);
    author.words(json, 2);
    json.raw(r#"","locked":false,"bot":"#)
        .bool(author.mix.is_multiple_of(16))
        .raw(r#","discoverable":true,"indexable":false,"#);
    json.raw(r#""group":false,"created_at":""#).millis(author.created_at()).raw(r#"","note":"<p>"#);
    author.words(json, 8);
    json.raw(r#"</p>","url":"https://social.example/@"#).raw(scratch);
    json.raw(r#"","uri":"https://social.example/users/"#).raw(scratch);
    for picture in ["avatar", "avatar_static", "header", "header_static"] {
        json.raw(r#"",""#)
            .raw(picture)
            .raw(r#"":"https://img.example/accounts/"#)
            .raw(picture)
            .raw("/original/");
        json.digits(author.mix, 16, HEX).raw(".png");
    }
    json.raw(r#"","followers_count":"#)
        .int(author.followers())
        .raw(r#","following_count":"#)
        .int(author.following());
    json.raw(r#","statuses_count":"#).int(author.posts()).raw(r#","last_status_at":""#);
    json.day(super::super::posts::EPOCH)
        .raw(r#"","noindex":false,"emojis":[],"roles":[],"fields":[]}"#);
}
