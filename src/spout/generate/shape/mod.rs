//! The shapes of the platforms' posts, one file each.

use super::json::Json;
use super::platform::Platform;
use super::posts::Draft;

mod bluesky;
mod facebook;
mod mastodon;
mod x;
mod youtube;

/// Writes a post in the format of a platform, under the key that names its kind.
pub(super) fn write(platform: Platform, json: &mut Json<'_>, draft: &mut Draft) {
    json.raw("{\"").raw(platform.kind()).raw("\":");
    match platform {
        Platform::X => x::write(json, draft),
        Platform::Facebook => facebook::write(json, draft),
        Platform::YouTube => youtube::write(json, draft),
        Platform::Bluesky => bluesky::write(json, draft),
        Platform::Mastodon => mastodon::write(json, draft),
    }
    json.raw("}");
}

/// Writes a user's name for mentions.
fn username(json: &mut Json<'_>, user: super::user::User, scratch: &mut String) {
    scratch.clear();
    user.username(scratch);
    json.raw(scratch);
}

/// Writes a short link.
fn link(json: &mut Json<'_>, number: u64, scratch: &mut String) {
    scratch.clear();
    super::text::link(number, scratch);
    json.raw(scratch);
}
