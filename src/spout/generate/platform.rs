//! The platforms whose posts can be made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A platform whose posts the generator can make.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Platform {
    /// Tweets, in the shape of X's API v2: `{"tweet": {…}}`.
    #[serde(alias = "Twitter")]
    X,
    /// Posts of Facebook pages: `{"post": {…}}`.
    Facebook,
    /// YouTube's videos: `{"video": {…}}`.
    YouTube,
    /// Bluesky's posts, as Jetstream's commits: `{"bsky": {…}}`.
    Bluesky,
    /// Mastodon's statuses: `{"toot": {…}}`.
    Mastodon,
}

impl Platform {
    /// All platforms.
    pub const ALL: [Self; 5] =
        [Self::X, Self::Facebook, Self::YouTube, Self::Bluesky, Self::Mastodon];

    /// Returns the key that names the kind of its posts.
    pub fn kind(self) -> &'static str {
        match self {
            Self::X => "tweet",
            Self::Facebook => "post",
            Self::YouTube => "video",
            Self::Bluesky => "bsky",
            Self::Mastodon => "toot",
        }
    }

    /// Returns the relative frequency of its posts.
    pub(super) fn weight(self) -> usize {
        match self {
            Self::X => 8,
            Self::Bluesky => 4,
            Self::Mastodon => 2,
            Self::Facebook | Self::YouTube => 1,
        }
    }

    /// Returns the approximate maximum number of bytes of words in a post.
    pub(super) fn bytes_max(self) -> u32 {
        match self {
            Self::X => 200,
            Self::Bluesky => 250,
            Self::Mastodon => 450,
            Self::Facebook | Self::YouTube => 900,
        }
    }
}

/// Some platforms, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Platform>", into = "Vec<Platform>")]
pub struct Platforms(Vec<Platform>);

impl Platforms {
    /// Returns the platforms, in the order in which they were named.
    pub fn as_slice(&self) -> &[Platform] {
        &self.0
    }
}

impl Default for Platforms {
    fn default() -> Self {
        Self(Platform::ALL.into())
    }
}

impl TryFrom<Vec<Platform>> for Platforms {
    type Error = String;

    fn try_from(platforms: Vec<Platform>) -> Result<Self, String> {
        if platforms.is_empty() {
            return Err("expected at least one platform, found none".into());
        }
        for (i, platform) in platforms.iter().enumerate() {
            if platforms[..i].contains(platform) {
                return Err(format!("expected each platform once, found {platform:?} again"));
            }
        }
        Ok(Self(platforms))
    }
}

impl From<Platforms> for Vec<Platform> {
    fn from(platforms: Platforms) -> Self {
        platforms.0
    }
}
