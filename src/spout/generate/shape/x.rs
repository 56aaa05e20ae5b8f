//! A tweet: X's API v2 with all fields and its author, as the content of `data`.

use super::super::draw::Draw;
use super::super::json::{HEX, Json, Moment};
use super::super::posts::Draft;
use super::super::text::{Piece, Span};
use super::super::trend::Tag;
use super::super::user::User;
use super::{link, username};

/// The time at which X's ids begin, in milliseconds since 1970.
const ID_EPOCH: u64 = 1_288_834_974_657;

/// The contexts that X annotates: domain, its name and description, entity and its name.
const CONTEXTS: [[&str; 5]; 8] = [
    [
        "11",
        "Sport",
        "Everything about sports, from the stadium to the street",
        "839543390668671000",
        "Football",
    ],
    [
        "30",
        "Entities [Entity Service]",
        "Entity Service top level domain, every item that is in it",
        "781974596148793000",
        "Weather and storms",
    ],
    [
        "46",
        "Business Taxonomy",
        "Categories within business verticals that narrow down the scope of businesses",
        "1557697333571112000",
        "Technology",
    ],
    [
        "54",
        "Musician",
        "A musician in the world, like a singer, a drummer or a whole orchestra",
        "855481986290524000",
        "Chamber music",
    ],
    [
        "65",
        "Interests and Hobbies Vertical",
        "Top level interests and hobbies groupings, like food or travel",
        "852262932607926000",
        "Coffee and tea",
    ],
    [
        "67",
        "Interests and Hobbies",
        "Interests, opinions and behaviours of individuals, groups or cultures",
        "847544972781826000",
        "Gardening",
    ],
    [
        "131",
        "Unified Twitter Taxonomy",
        "A taxonomy of user interests and conversational topics",
        "1047106191829204000",
        "Rail transport",
    ],
    [
        "152",
        "Food",
        "Various kinds of food, and what is cooked from it",
        "834828264786898000",
        "Breakfast",
    ],
];

const SOURCES: [&str; 4] = ["Web App", "Phone App", "Tablet App", "Scheduler"];

fn id(at: Moment, number: u64) -> u64 {
    (at.millis().saturating_sub(ID_EPOCH) << 22) | (number & 0x3f_ffff)
}

pub(super) fn write(json: &mut Json<'_>, draft: &mut Draft) {
    draft.plain();
    let Draft { number, at, draw, author, text, spans, scratch, .. } = draft;
    let id = id(*at, *number);
    json.raw(r#"{"id":""#).int(id).raw(r#"","text":""#).text(text);
    json.raw(r#"","created_at":""#).millis(*at).raw(r#"","author_id":""#).int(author.id());
    json.raw(r#"","edit_history_tweet_ids":[""#)
        .int(id)
        .raw(r#""],"edit_controls":{"edits_remaining":5,"#);
    json.raw(r#""is_edit_eligible":true,"editable_until":""#)
        .millis(at.after(1_800))
        .raw(r#""},"lang":""#);
    json.raw(author.language().code).raw(r#"","source":""#).raw(SOURCES[draw.below(4) as usize]);
    json.raw(r#"","possibly_sensitive":"#)
        .bool(draw.one_in(50))
        .raw(r#","reply_settings":"everyone""#);
    write_relation(json, draw, id);
    json.raw(r#","display_text_range":[0,"#).int(text.chars().count() as u64).raw("]");
    write_metrics(json, draw);
    write_entities(json, draw, spans, scratch);
    write_contexts(json, draw);
    write_author(json, *author, scratch);
    json.raw("}");
}

/// Writes the relation: most posts begin a conversation; others answer, repost or quote an earlier
/// one.
fn write_relation(json: &mut Json<'_>, draw: &mut Draw, id: u64) {
    let kind = match draw.below(5) {
        0 => "replied_to",
        1 => "quoted",
        _ => {
            json.raw(r#","conversation_id":""#).int(id).raw(r#"""#);
            return;
        }
    };
    let earlier = id.saturating_sub(u64::from(draw.bits()) << 10);
    json.raw(r#","conversation_id":""#)
        .int(earlier)
        .raw(r#"","referenced_tweets":[{"type":""#)
        .raw(kind);
    json.raw(r#"","id":""#).int(earlier).raw(r#""}]"#);
    if kind == "replied_to" {
        let place = draw.bits();
        json.raw(r#","in_reply_to_user_id":""#).int(User::draw(draw, place).id()).raw(r#"""#);
    }
}

fn write_metrics(json: &mut Json<'_>, draw: &mut Draw) {
    let likes = draw.count(14);
    json.raw(r#","public_metrics":{"retweet_count":"#)
        .int(likes / 5)
        .raw(r#","reply_count":"#)
        .int(draw.count(6));
    json.raw(r#","like_count":"#).int(likes).raw(r#","quote_count":"#).int(likes / 40);
    json.raw(r#","bookmark_count":"#)
        .int(likes / 25)
        .raw(r#","impression_count":"#)
        .int(likes * 60 + draw.count(8));
    json.raw("}");
}

fn write_entities(json: &mut Json<'_>, draw: &mut Draw, spans: &[Span], scratch: &mut String) {
    let of = |wanted: fn(&Piece) -> bool| spans.iter().filter(move |span| wanted(&span.piece));
    let range = |json: &mut Json<'_>, span: &Span| {
        json.raw(r#"{"start":"#).int(span.chars.start).raw(r#","end":"#).int(span.chars.end);
    };
    json.raw(r#","entities":{"hashtags":"#).list(
        of(|piece| matches!(piece, Piece::Tag(_))),
        |json, span| {
            let Piece::Tag(rank) = span.piece else { return };
            range(json, span);
            json.raw(r#","tag":""#).raw(&Tag::at(rank).text).raw(r#""}"#);
        },
    );
    json.raw(r#","mentions":"#).list(
        of(|piece| matches!(piece, Piece::Mention(_))),
        |json, span| {
            let Piece::Mention(user) = span.piece else { return };
            range(json, span);
            json.raw(r#","username":""#);
            username(json, user, scratch);
            json.raw(r#"","id":""#).int(user.id()).raw(r#""}"#);
        },
    );
    json.raw(r#","urls":"#).list(of(|piece| matches!(piece, Piece::Link(_))), |json, span| {
        let Piece::Link(number) = span.piece else { return };
        range(json, span);
        json.raw(r#","url":""#);
        link(json, number, scratch);
        write_page(json, draw, number);
    });
    json.raw("}");
}

/// Writes the page behind a link.
fn write_page(json: &mut Json<'_>, draw: &mut Draw, number: u64) {
    let address =
        |json: &mut Json<'_>| _ = json.raw("news.example/2015/12/").digits(number, 12, HEX);
    json.raw(r#"","expanded_url":"https://"#);
    address(json);
    json.raw(r#"","display_url":""#);
    address(json);
    json.raw(r#"","unwound_url":"https://"#);
    address(json);
    json.raw(r#"","status":200,"title":"The weather of the week, told by those who were out in it","description":"#);
    json.raw(r#""Rain in the north, sun in the south, and a storm that nobody saw coming: what the week was like","images":"#);
    json.list([1_200_u64, 150], |json, width| {
        json.raw(r#"{"url":"https://img.example/news_img/"#)
            .random(draw, 24, HEX)
            .raw(r#"?format=jpg","width":"#);
        json.int(width).raw(r#","height":"#).int(width / 2).raw("}");
    });
    json.raw("}");
}

fn write_contexts(json: &mut Json<'_>, draw: &mut Draw) {
    let (first, count) = (draw.below(8) as usize, 1 + draw.below(7) as usize);
    json.raw(r#","context_annotations":"#).list(first..first + count, |json, i| {
        let [domain, name, description, entity, entity_name] = CONTEXTS[i % CONTEXTS.len()];
        json.raw(r#"{"domain":{"id":""#)
            .raw(domain)
            .raw(r#"","name":""#)
            .raw(name)
            .raw(r#"","description":""#);
        json.raw(description)
            .raw(r#""},"entity":{"id":""#)
            .raw(entity)
            .raw(r#"","name":""#)
            .raw(entity_name);
        json.raw(r#""}}"#);
    });
}

fn write_author(json: &mut Json<'_>, author: User, scratch: &mut String) {
    json.raw(r#","author":{"id":""#).int(author.id()).raw(r#"","name":""#);
    author.words(json, 2);
    json.raw(r#"","username":""#);
    username(json, author, scratch);
    json.raw(r#"","created_at":""#).millis(author.created_at()).raw(r#"","description":""#);
    author.words(json, 9);
    json.raw(r#"","location":""#);
    author.words(json, 1);
    json.raw(r#"","profile_image_url":"https://img.example/profile_images/"#)
        .int(author.id())
        .raw("/");
    json.digits(author.mix, 8, HEX)
        .raw(r#"_normal.jpg","protected":false,"verified":"#)
        .bool(author.is_verified());
    json.raw(r#","verified_type":""#).raw(if author.is_verified() { "blue" } else { "none" });
    json.raw(r#"","public_metrics":{"followers_count":"#)
        .int(author.followers())
        .raw(r#","following_count":"#);
    json.int(author.following())
        .raw(r#","tweet_count":"#)
        .int(author.posts())
        .raw(r#","listed_count":"#);
    json.int(author.followers() / 90)
        .raw(r#","like_count":"#)
        .int(author.posts() * 2)
        .raw(r#","media_count":"#);
    json.int(author.posts() / 7).raw("}}");
}
